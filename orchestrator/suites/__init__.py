"""What is measured again and again: suites, their schedules, baselines and cases.

A suite run is a batch of ordinary jobs of low priority, judged when it has ended. A baseline, a case or a schedule
changes by a person's order with a reason, or by a rule with its evidence.
"""
