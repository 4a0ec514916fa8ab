"""One HTML file that shows what a calibration keeps, drops and claims."""
