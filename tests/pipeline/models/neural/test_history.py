"""History: what its file says, to the letter."""

from dataclasses import replace

from pipeline.models.neural.history import EpochRecord, History

RECORD = EpochRecord(
    epoch=1,
    size=32,
    batches=20,
    learning_rate=0.0000012345,
    loss=1 / 3,
    accuracy=0.5,
    validation_loss=float("nan"),
    validation_accuracy=1.0,
    validation_score=float("inf"),
    images_per_second=12345678.9876543,
    seconds=2.0,
)


def test_a_history_is_a_table_of_numbers_of_six_digits_after_the_point(tmp_path):
    History(tmp_path / "history.csv", [RECORD, replace(RECORD, epoch=2, loss=0.1 + 0.2)]).write()
    assert (tmp_path / "history.csv").read_text() == (
        "epoch,size,batches,learning_rate,loss,accuracy,"
        "validation_loss,validation_accuracy,validation_score,images_per_second,seconds\n"
        "1,32,20,1e-06,0.333333,0.5,nan,1.0,inf,12345678.987654,2.0\n"
        "2,32,20,1e-06,0.3,0.5,nan,1.0,inf,12345678.987654,2.0\n"
    )


def test_a_history_is_loaded_as_it_was_saved(tmp_path):
    first, second = (History(tmp_path / "history.csv") for _ in range(2))
    first.records.append(replace(RECORD, validation_loss=0.25))
    second.load_state(first.state())
    assert second.records == first.records
