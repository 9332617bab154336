"""The one that places: promotes waiting jobs, gives queued ones a slot, rings their workers, repairs what was lost."""
