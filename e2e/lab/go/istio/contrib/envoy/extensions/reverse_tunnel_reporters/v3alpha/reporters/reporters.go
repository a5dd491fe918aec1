package reporters
