"""Speed, as ratios taken in one run: ``make bench``. No test asserts a time."""
