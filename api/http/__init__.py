"""HTTP itself: problems (errors as documents), fields, ETags, methods, ranges, downloads, replays. No SQL."""
