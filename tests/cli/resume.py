"""Interrupted and repeated runs: SIGINT leaves a state that the same command finishes, with the bytes of a run that
was never stopped; a rerun touches only what changed."""
import json
import pathlib
import shutil
import signal
import subprocess
import time

import support


def command(work, out, *extra):
    return ["wsp-ingest", work / "export", "--out", out, "--masks", work / "truth", "--labels", work / "labels.csv",
            "--manifest", support.SOURCE / "data-manifests" / "phantom.json", "--new-site-key", work / "site.key",
            "--threads", 1, *extra]


def interrupted(work, out):
    """Start, send SIGINT once the first case stands on the disk, and return the exit code."""
    tool, *arguments = command(work, out)
    process = subprocess.Popen([str(support.BINARIES / tool), *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while process.poll() is None and time.time() < deadline and not list(out.glob("state-next/cases/*.json")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=120)
    return process.returncode, messages


def inodes(out):
    return {p.name: p.stat().st_ino for folder in ("shards", "cases", "previews") for p in (support.state(out) / folder).iterdir()}


def main(work):
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 8, "--seed", 5, "--slices", "20-24", "--size", 256)
    cohort = work / "cohort"
    support.run(*command(cohort, work / "whole"))
    whole = support.tree(work / "whole")

    # 1. Interrupted, resumed.
    code, messages = interrupted(cohort, work / "stopped")
    support.check(code == 130, f"exit {code} after SIGINT: {messages}")
    support.check("run the same command again" in messages, f"the message does not say how to go on: {messages}")
    support.check(not (work / "stopped" / "dataset.json").exists(), "an incomplete dataset has a dataset.json")
    support.run("wsp-ingest", "verify", work / "stopped", expect=6)
    done = json.loads(support.run(*command(cohort, work / "stopped", "--json")).stdout)
    support.check(0 < done["reused_cases"] < 8, f"{done['reused_cases']} of 8 cases taken over; the test expects some")
    support.check(support.tree(work / "stopped") == whole, "the resumed dataset differs from one made at once")
    print("interrupted and resumed: equal bytes,", done["reused_cases"], "of 8 cases taken over")

    # 2. Nothing changed: no file of a case or shard is written again.
    before = inodes(work / "stopped")
    done = json.loads(support.run(*command(cohort, work / "stopped", "--json")).stdout)
    support.check(done["reused_cases"] == 8, f"{done['reused_cases']} of 8 cases taken over by a rerun")
    support.check(inodes(work / "stopped") == before, "a rerun wrote files again that did not change")

    # 3. One label changed: one shard changes; the result is the one of a fresh run.
    rows = (cohort / "labels.csv").read_text().splitlines()
    first = rows[1].split(",")
    first[1] = "severe" if first[1] != "severe" else "none"
    (cohort / "labels.csv").write_text("\n".join([rows[0], ",".join(first), *rows[2:]]) + "\n")
    done = json.loads(support.run(*command(cohort, work / "stopped", "--json")).stdout)
    support.check(done["reused_cases"] == 7, f"{done['reused_cases']} of 8 cases taken over after one label changed")
    after = inodes(work / "stopped")
    changed = [name for name in after if name.startswith("shard-") and after[name] != before[name]]
    support.check(len(changed) == 1, f"shards written after one label changed: {changed}")
    support.run(*command(cohort, work / "fresh"))
    support.check(support.tree(work / "stopped") == support.tree(work / "fresh"), "a rerun differs from a fresh run")

    # 4. A patient withdrawn: the case, its files and its rows go.
    victim = sorted((cohort / "export").iterdir())[0]
    shutil.move(victim, work / "withdrawn")
    support.check("--prune" in support.run(*command(cohort, work / "stopped"), expect=4).stderr, "a case would go in silence")
    done = json.loads(support.run(*command(cohort, work / "stopped", "--json", "--prune")).stdout)
    support.check((done["cases"], done["reused_cases"]) == (7, 7), f"after a withdrawal: {done}")
    support.check(len(list((support.state(work / "stopped") / "cases").iterdir())) == 7, "the withdrawn case's JSON stands")
    support.run("wsp-ingest", "verify", work / "stopped")

    # 5. Other options are refused, and --force makes the dataset anew.
    refused = support.run(*command(cohort, work / "stopped", "--codec", "zstd"), expect=5)
    support.check("--force" in refused.stderr, f"no way out is named: {refused.stderr}")
    done = json.loads(support.run(*command(cohort, work / "stopped", "--codec", "zstd", "--force", "--json")).stdout)
    support.check((done["cases"], done["reused_cases"]) == (7, 0), f"after --force: {done}")
    support.run("wsp-ingest", "verify", work / "stopped")
    print("a rerun touches only what changed")

    # 6. With one shard, which is written last, an interrupt keeps what is finished all the same.
    began = time.time()
    support.run(*command(cohort, work / "one", "--shards", 1))
    whole, length = support.tree(work / "one"), time.time() - began
    for part in (0.5, 0.6, 0.7, 0.8, 0.4, 0.9, 0.3):
        shutil.rmtree(work / "cut", ignore_errors=True)
        tool, *arguments = command(cohort, work / "cut", "--shards", 1)
        process = subprocess.Popen([str(support.BINARIES / tool), *map(str, arguments)], stderr=subprocess.DEVNULL)
        time.sleep(part * length)
        process.send_signal(signal.SIGINT)
        if process.wait(timeout=120) != 130 or not (work / "cut" / "state-next" / "run.json").exists():
            continue
        done = json.loads(support.run(*command(cohort, work / "cut", "--shards", 1, "--json")).stdout)
        support.check(support.tree(work / "cut") == whole, "one shard, resumed, differs from one made at once")
        if done["reused_cases"] > 0:
            break
    support.check(done["reused_cases"] > 0, "an interrupt never kept a case of a single shard")
    print("one shard, interrupted and resumed: equal bytes,", done["reused_cases"], "of 7 cases taken over")


with support.temporary() as directory:
    main(pathlib.Path(directory))
