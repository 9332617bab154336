"""The queue as a whole: how many wait, why the first one does, and what comes next where."""

from builders import lifecycle


def test_an_empty_queue_is_empty(client):
    queue = client.queue()

    assert (queue.classes, queue.more, queue.next_jobs) == ((), 0, {})


def test_each_class_is_explained_by_its_first_job(client, database):
    with database.write() as session:
        busy, free = lifecycle.a_slot(session, "g0"), lifecycle.a_slot(session, "g1")
        running = lifecycle.a_running_attempt(session, lifecycle.a_job(session), busy)
        pinned = [lifecycle.a_job(session, demand="card_group g0") for _ in range(3)]
        anywhere = lifecycle.a_job(session)
        held = lifecycle.a_job(session, demand="card_group g0", held=True)
        numbers = [job.id for job in (*pinned, anywhere, held)]
        slots, runs = (busy.id, free.id), running.job_id

    queue = client.queue()

    first, second = queue.classes
    assert (first.demand, first.jobs, first.first.id) == ("card_group g0", 3, numbers[0])
    assert [reason.job_id for reason in first.reasons if reason.slot_id == slots[0]] == [runs]
    assert (second.demand, second.jobs, second.first.id) == ("card_group", 1, numbers[3])
    assert queue.next_jobs == {slots[0]: numbers[0], slots[1]: numbers[3]}


def test_of_many_classes_the_longest_are_shown_and_the_others_counted(client, database):
    with database.write() as session:
        for number in range(10):
            for _ in range(2 if number == 7 else 1):
                lifecycle.a_job(session, project=f"p{number}")

    queue = client.queue()

    assert queue.classes[0].project == "p7"
    assert len(queue.classes) + queue.more == 10
    assert queue.more > 0


def test_the_run_limit_of_what_runs_on_a_slot_is_told(client, database):
    with database.write() as session:
        attempt = lifecycle.a_running_attempt(session, lifecycle.a_job(session, run_seconds=90))
        slot, started = attempt.slot_id, attempt.started_at

    (view,) = (each for each in client.slots() if each.id == slot)

    assert (view.limit_at - started).total_seconds() == 90
