"""Bad usage and bad input: the exit code and a message that says what to do."""
import pathlib

import support

with support.temporary() as directory:
    work = pathlib.Path(directory)
    for tool in ("wsp-ingest", "wsp-phantom"):
        support.check("--threads" in support.run(tool, "--help").stdout, f"{tool} --help")
        support.check("0.1" in support.run(tool, "--version").stdout, f"{tool} --version")
        support.run(tool, "--no-such-option", expect=2)

    def fails(code, words, *arguments):
        done = support.run("wsp-ingest", *arguments, expect=code)
        support.check(words in done.stderr, f"{arguments}: expected '{words}' in: {done.stderr}")

    (work / "empty").mkdir()
    (work / "text").mkdir()
    (work / "text" / "notes.txt").write_text("no image here\n")
    (work / "full").mkdir()
    (work / "full" / "precious.txt").write_text("keep me\n")
    fails(2, "expected one of make, plan")
    fails(2, "expected an export and a dataset", "make")
    fails(2, "site key", work / "text", "--out", work / "ds")
    fails(4, "does not exist", work / "nowhere", "--out", work / "ds", "--ids", "keep")
    fails(4, "no file", work / "empty", "--out", work / "ds0", "--ids", "keep")
    fails(5, "not empty", work / "text", "--out", work / "full", "--ids", "keep")
    fails(2, "inside the export", work / "text", "--out", work / "text" / "ds", "--ids", "keep")
    fails(2, "power of two", work / "text", "--out", work / "ds", "--ids", "keep", "--shards", 12)
    fails(2, "--memory", work / "text", "--out", work / "ds", "--ids", "keep", "--memory", "lots")
    fails(2, "crosswalk", work / "text", "--out", work / "ds", "--ids", "keep", "--crosswalk", work / "ds" / "x.tsv")
    support.check((work / "full" / "precious.txt").read_text() == "keep me\n", "a foreign file was touched")
    fails(4, "no case", work / "text", "--out", work / "ds1", "--ids", "keep")
    support.check("NOT_DICOM" in (support.state(work / "ds1") / "ledger.tsv").read_text(), "the ledger names the file's code")

    # A key is made on first use, with mode 0600, used by the same command afterwards, and never overwritten.
    support.run("wsp-ingest", work / "text", "--out", work / "ds2", "--new-site-key", work / "key", expect=4)
    support.check((work / "key").stat().st_mode & 0o777 == 0o600, "the site key's mode is not 0600")
    key = (work / "key").read_bytes()
    fails(4, "used again", work / "text", "--out", work / "ds3", "--new-site-key", work / "key")
    support.check((work / "key").read_bytes() == key, "the site key was overwritten")
    (work / "key").chmod(0o644)
    fails(2, "chmod", work / "text", "--out", work / "ds4", "--site-key", work / "key")

    # Options from a file; the command line wins.
    (work / "config.json").write_text('{"ids": "keep", "codec": "zstd"}')
    support.run("wsp-ingest", work / "text", "--out", work / "ds5", "--config", work / "config.json", expect=4)
    support.check('"zstd"' in (work / "ds5" / "dataset.json").read_text(), "--config was not read")
print("messages and exit codes are as stated")
