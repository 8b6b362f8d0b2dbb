"""Findings are kept as CSVs in the folder of the competition's runs."""

from dataclasses import replace

import pandas as pd

from pipeline.findings.finding import Finding, read_findings, write_findings


def finding(kind: str, *ids: str, told: str = "") -> Finding:
    return Finding(kind, told, pd.DataFrame({"split": ["train"] * len(ids), "id": list(ids)}))


def test_findings_are_read_back_with_their_ids_as_they_were_written(tmp_path):
    write_findings([finding("blank", "007", "nan", 'a "b", c', told="3 images are blank; leave them out")], tmp_path)
    (back,) = read_findings(tmp_path)
    assert (back.kind, back.told) == ("blank", "3 images are blank; leave them out")
    assert back.table["id"].tolist() == ["007", "nan", 'a "b", c']


def test_the_line_of_a_finding_names_its_table_where_it_is_now(tmp_path):
    write_findings([finding("blank", "a", told="1 image is blank; look at blank.csv")], tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    write_findings([finding("tiny", "b")], tmp_path / "after")
    told = {each.kind: each.told for each in read_findings(tmp_path / "after")}
    assert told == {"tiny": "", "blank": f"1 image is blank; look at {tmp_path / 'after' / 'blank.csv'}"}
    assert str(tmp_path) not in (tmp_path / "after" / "findings.csv").read_text()


def test_a_later_audit_replaces_what_it_looked_for_and_keeps_the_rest(tmp_path):
    write_findings([finding("blank", "a"), finding("tiny", "b"), finding("drift", "c")], tmp_path)
    write_findings([finding("blank"), finding("tiny", "d")], tmp_path)
    assert {each.kind: each.table["id"].tolist() for each in read_findings(tmp_path)} == {"tiny": ["d"], "drift": ["c"]}
    assert not (tmp_path / "blank.csv").exists()


def test_a_list_of_new_findings_alone_has_no_others(tmp_path):
    write_findings([finding("blank", "a"), finding("tiny", "b")], tmp_path)
    write_findings([finding("blank", "c")], tmp_path, with_others=False)
    assert [each.kind for each in read_findings(tmp_path)] == ["blank"]


def test_a_table_that_the_user_has_changed_stays_until_one_holds_the_changes(tmp_path):
    write_findings([finding("conflicts", "a", "b")], tmp_path)
    (tmp_path / "conflicts.csv").write_text("split,id,label\ntrain,a,cat\n")
    write_findings([finding("conflicts", "a", "b")], tmp_path)
    write_findings([finding("conflicts")], tmp_path)
    assert (tmp_path / "conflicts.csv").read_text() == "split,id,label\ntrain,a,cat\n"
    write_findings([replace(finding("conflicts", "a"), holds_corrections=True)], tmp_path)
    assert (tmp_path / "conflicts.csv").read_text() == "split,id\ntrain,a\n"


def test_a_table_that_was_removed_or_damaged_is_left_out(tmp_path):
    write_findings([finding("blank", "a"), finding("tiny", "b"), finding("drift", "c")], tmp_path)
    (tmp_path / "blank.csv").unlink()
    (tmp_path / "tiny.csv").write_bytes(b"\xff\xfe\x00")
    assert [each.kind for each in read_findings(tmp_path)] == ["drift"]


def test_without_an_audit_there_are_no_findings(tmp_path):
    assert read_findings(tmp_path / "audit") == []
