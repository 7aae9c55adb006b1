"""What answers are worth: figures of tasks from gold and predicted answers, their intervals, their differences."""
