"""Classes are matched by name, visibly; what is not clear is refused, never dropped in silence."""

from __future__ import annotations

import json

import pytest

from conformal_plugin.annotators import CLASS_LISTS, ClassList, class_list, read_synonyms
from conformal_plugin.annotators._class_mapping import SYNONYMS, map_classes
from conformal_plugin.errors import OptionError, SourceFileError

COCO_LABELS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "boat", "bird", "cat",
    "dog", "horse", "sheep", "cow", "bottle", "chair", "couch", "potted plant", "dining table",
    "tv", "tree-merged", "wall-other-merged", "table-merged",
)  # fmt: skip


def test_voc_finds_its_classes_in_coco():
    asked = CLASS_LISTS["voc"].asked("complement")
    table = map_classes(asked, COCO_LABELS).table
    assert table["aeroplane"] == ["airplane"]
    assert table["motorbike"] == ["motorcycle"]
    assert table["sofa"] == ["couch"]
    assert table["diningtable"] == ["dining table"]
    assert table["tvmonitor"] == ["tv"]
    assert all(len(labels) == 1 for labels in table.values())


@pytest.mark.parametrize("name", CLASS_LISTS)
def test_a_model_of_the_same_classes_matches_one_to_one(name):
    classes = CLASS_LISTS[name]
    asked = classes.asked("complement" if classes.has_background else "none")
    mapping = map_classes(asked, asked.class_names)
    assert mapping.members == tuple((i,) for i in range(len(asked.class_names)))
    assert mapping.notes == ()


def test_several_names_in_one_label_and_other_spellings():
    asked = ClassList.of({"building": [], "traffic_light": [], "tree": [], "Person": []})
    labels = ("edifice, building", "Traffic-Light", "tree-merged", "person;human")
    assert map_classes(asked, labels).members == ((0,), (1,), (2,), (3,))


def test_prompts_match_where_the_name_does_not():
    asked = ClassList.of({"pet": ["cat", "dog"], "thing": ["table"]})
    mapping = map_classes(asked, ("dog", "cat", "dining table", "sky"))
    assert mapping.members == ((0, 1), (2,))
    assert mapping.notes == (
        "class pet is the model's dog, cat",
        "class thing is the model's dining table",
        "1 classes of the model belong to no class here: sky",
    )


def test_a_class_that_the_model_lacks_is_refused_until_it_is_said_to_be_missed():
    asked = ClassList.of({"cat": [], "unicorn": []})
    with pytest.raises(OptionError, match=r"no class for unicorn; its classes are cat, dog.*\[\]"):
        map_classes(asked, ("cat", "dog"))
    mapping = map_classes(asked, ("cat", "dog"), {"unicorn": []})
    assert mapping.members == ((0,), ())
    assert "class unicorn is never found" in mapping.notes


def test_a_table_overrides_names():
    asked = ClassList.of({"background": [], "cat": [], "dog": []})
    labels = ("wall", "cat", "dog", "wolf")
    table = {"background": ["*"], "dog": ["dog", "wolf"]}
    mapping = map_classes(asked, labels, table)
    assert mapping.table == {"background": ["wall"], "cat": ["cat"], "dog": ["dog", "wolf"]}
    assert map_classes(asked, labels, mapping.table) == mapping


def test_a_class_of_the_model_wanted_twice_is_refused():
    asked = ClassList.of({"tv": [], "television set": ["television"]})
    with pytest.raises(OptionError, match="more than one class would take the model's monitor"):
        map_classes(asked, ("monitor",))
    # A class of that very name has precedence over synonyms of others.
    asked = ClassList.of({"tvmonitor": [], "monitor": []})
    assert map_classes(asked, ("tv", "monitor")).members == ((0,), (1,))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"horse": ["cat"]}, "'horse', which is no class to look for"),
        ({"cat": ["lion"]}, "'lion' for 'cat', which the model does not know"),
        ({"cat": ["*", "dog"]}, r"'\*' beside other names for 'cat'"),
        ({"cat": ["*"], "dog": ["*"]}, "to more than one class"),
        ({"cat": ["dog"]}, "more than one class would take the model's dog"),
    ],
)
def test_tables_that_make_no_sense(table, message):
    with pytest.raises(OptionError, match=message):
        map_classes(ClassList.of({"cat": [], "dog": []}), ("cat", "dog"), table)


def test_synonym_groups_do_not_overlap():
    words = [word for group in SYNONYMS for word in group]
    assert len(words) == len(set(words))


def test_tables_are_read_from_files(tmp_path):
    path = tmp_path / "synonyms.json"
    path.write_text('{"cat": ["cat", "kitten"]}')
    assert read_synonyms(path) == {"cat": ["cat", "kitten"]}
    for content in ("[]", '{"cat": "cat"}', '{"cat": [1]}', "{"):
        path.write_text(content)
        with pytest.raises(SourceFileError, match="synonym table"):
            read_synonyms(path)


def test_the_lists_have_the_classes_of_their_data_sets():
    assert {name: len(c.class_names) for name, c in CLASS_LISTS.items()} == {
        "voc": 21,
        "voc-stuff": 21,
        "ade20k": 150,
        "cityscapes": 19,
        "coco": 81,
    }
    for classes in CLASS_LISTS.values():
        assert len(set(classes.class_names)) == len(classes.class_names)
        assert all(classes.prompts)
    voc = CLASS_LISTS["voc"]
    assert (voc.class_names[8], voc.class_names[15], voc.class_names[20]) == (
        "cat",
        "person",
        "tvmonitor",
    )
    assert CLASS_LISTS["cityscapes"].class_names[18] == "bicycle"
    assert CLASS_LISTS["ade20k"].class_names[12] == "person"
    assert CLASS_LISTS["ade20k"].class_names[149] == "flag"


def test_lists_from_files(tmp_path):
    text = tmp_path / "classes.txt"
    text.write_text("background\ncat\n\n dog \r\n")
    assert class_list(text) == ClassList.of({"background": [], "cat": [], "dog": []})
    file = tmp_path / "classes.json"
    file.write_text(json.dumps({"background": ["wall", "sky"], "cat": []}))
    assert class_list(file).prompts == (("wall", "sky"), ("cat",))
    for content in ('{"cat": "cat"}', "[]", "{}", '{"cat": [], "background": []}', '{"a": [""]}'):
        file.write_text(content)
        with pytest.raises(SourceFileError, match="is no class list|not first"):
            class_list(file)
    text.write_text("cat\ncat\n")
    with pytest.raises(SourceFileError, match="listed twice"):
        class_list(text)
    file.write_text('{"cat": ["cat"], "dog": [], "cat": ["kitten"]}')
    with pytest.raises(SourceFileError, match="it has 'cat' twice"):
        class_list(file)
    with pytest.raises(OptionError, match="no class list 'pets'; name one of voc"):
        class_list("pets")


@pytest.mark.parametrize("name", CLASS_LISTS)
def test_a_list_is_written_to_be_edited(name, tmp_path):
    file = tmp_path / "words.json"
    CLASS_LISTS[name].write(file)
    assert class_list(file) == CLASS_LISTS[name]
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(CLASS_LISTS[name].class_names) + 2  # a class a line
    with pytest.raises(OptionError, match=r"must end in \.json"):
        CLASS_LISTS[name].write(tmp_path / "words.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cat": ["pet"], "dog": ["Pet "]}, "the classes cat and dog by the word 'Pet'"),
        ({"cat": [], "dog": ["cat"]}, "the classes cat and dog by the word 'cat'"),
        ({"cat": ["cat", "CAT"]}, "cat, twice, by the word 'CAT'"),
    ],
)
def test_a_word_belongs_to_one_class(content, message, tmp_path):
    file = tmp_path / "words.json"
    file.write_text(json.dumps(content))
    with pytest.raises(SourceFileError, match=message):
        class_list(file)


def test_background_of_voc_is_asked_for_by_what_lies_behind():
    voc, stuff = CLASS_LISTS["voc"], CLASS_LISTS["voc-stuff"]
    assert stuff.class_names == voc.class_names
    assert stuff.prompts[1:] == voc.prompts[1:]
    assert {"wall", "sky", "grass", "road", "floor", "water", "tree"} <= set(stuff.prompts[0])
    objects = {word for words in (*voc.prompts[1:], voc.class_names) for word in words}
    assert not objects & set(stuff.prompts[0])
