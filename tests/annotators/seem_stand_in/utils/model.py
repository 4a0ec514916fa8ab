"""Stands in for the matching of SEEM's weights: those of the right name and shape."""


def align_and_update_state_dicts(model_state_dict, ckpt_state_dict):
    return {
        name: ckpt_state_dict[name]
        for name, tensor in model_state_dict.items()
        if name in ckpt_state_dict and ckpt_state_dict[name].shape == tensor.shape
    }
