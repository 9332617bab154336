"""HTTP itself: problems (errors as documents), fields, ETags, ranges, downloads, replays. No SQL."""
