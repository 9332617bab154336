"""A dispatcher whose database answers and is not migrated, on both databases."""

import threading

from builders.desk import Desk
from eventually import eventually

from orchestrator.dispatcher.main import Dispatcher


def _execute(desk: Desk, statement: str) -> None:
    with desk.database.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_a_dispatcher_waits_for_the_migrations_and_then_leads(desk: Desk, caplog):
    _execute(desk, "ALTER TABLE leader RENAME TO not_yet")
    dispatcher = Dispatcher(desk.settings, desk.database, doorbell=lambda bells: True)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        eventually(lambda: "tx81 migrate" in caplog.text)
        _execute(desk, "ALTER TABLE not_yet RENAME TO leader")
        assert eventually(lambda: dispatcher.leading)
    finally:
        dispatcher.stop()
        thread.join()

    assert "Traceback" not in caplog.text
