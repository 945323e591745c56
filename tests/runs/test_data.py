import pytest

import kseg.runs.data
from kseg.config.train import DataOptions
from kseg.data.conversion.convert import convert
from kseg.runs.data import log_data, open_data
from kseg.runs.directory import RunDirectory


@pytest.mark.backend_free
@pytest.mark.parametrize("shard_format", ["tfrecord", "array_record"])
def test_several_processes_are_told_that_each_reads_all_of_tfrecord_shards(
    folder, tmp_path, shard_format, monkeypatch, caplog
):
    convert(str(folder), tmp_path / "shards", shard_format=shard_format, val_fraction=0.25)
    options = DataOptions(dataset=str(tmp_path / "shards"))
    data, run = open_data(options), RunDirectory(tmp_path / "run")
    log_data(data, options, run)
    assert "processes" not in caplog.text
    monkeypatch.setattr(kseg.runs.data, "process_count", lambda: 4)
    log_data(data, options, run)
    told = "Each of the 4 processes reads all bytes of" in caplog.text
    assert told == (shard_format == "tfrecord")
