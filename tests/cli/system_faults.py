"""When the system fails: a disk that does not give a byte, a directory or a status once, an export that vanishes, a full
disk, a stdout that takes nothing, a kill in the first moment, two first runs at once. No case is lost without a word, no
dataset is half another's, nothing ends by a signal, and no message names a patient."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import stat
import subprocess
import time

import support


def command(work, out, *extra, export=None):
    return ["wsp-ingest", export or work / "cohort" / "export", "--out", out, "--masks", work / "cohort" / "truth", "--manifest",
            support.SOURCE / "data-manifests" / "phantom.json", "--labels", work / "cohort" / "labels.csv", "--site-key",
            work / "site.key", "--size", 64, "--shards", 2, "--liver-model", "none", *extra]


def without(arguments, option):
    arguments = list(arguments)
    at = arguments.index(option)
    return arguments[:at] + arguments[at + 2:]


def raw(arguments, **keywords):
    tool, *rest = arguments
    return subprocess.run([str(support.BINARIES / tool), *map(str, rest)], capture_output=True, text=True, timeout=120, **keywords)


def not_by_signal(done, what):
    support.check(done.returncode >= 0, f"{what}: ended by signal {-done.returncode}: {done.stderr}")


def one_failing_call(work, whole):
    """Of all reads, listings and statuses in the export, one fails: the run stops and says so, or its dataset is the whole one."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("*** no C compiler: single faults are not tested ***")
        return
    shim = work / "fault.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, support.SOURCE / "tests" / "cli" / "fault_shim.c", "-ldl"], check=True)
    secret = work / "DOE^JANE-19481203"
    shutil.copytree(work / "cohort" / "export", secret)
    stopped = survived = 0
    for what in ("read", "readdir", "stat"):
        log, out = work / f"{what}.log", work / f"fault-{what}"
        env = {**os.environ, "LD_PRELOAD": str(shim), "WSP_FAULT": what, "WSP_FAULT_PATH": "DOE^JANE", "WSP_FAULT_AT": "-1",
               "WSP_FAULT_LOG": str(log), "ASAN_OPTIONS": "verify_asan_link_order=0"}
        arguments = command(work, out, "--threads", 1, export=secret)
        support.check(raw(arguments, env=env).returncode == 0, "the shim alone")
        before = support.tree(out)
        support.check(before == whole, "the same export under another path gives another dataset")
        calls = int.from_bytes(log.read_bytes(), "little")
        support.check(calls > 4, f"the shim saw {calls} calls of {what}")
        for at in {int(i * (calls - 1) / 13) for i in range(14)}:
            for fresh in (True, False):
                if fresh:
                    shutil.rmtree(out)
                done = raw(arguments, env={**env, "WSP_FAULT_AT": str(at)})
                not_by_signal(done, f"{what} {at}")
                support.check("JANE" not in done.stderr.replace(str(secret), "") + done.stdout, f"{what} {at}: a path stands in {done.stderr}")
                if done.returncode == 0:
                    survived += 1
                    support.check(support.tree(out) == whole, f"{what} {at}: exit 0, but another dataset: {done.stdout}")
                else:
                    stopped += 1
                    support.check(done.returncode in (1, 4), f"{what} {at}: exit {done.returncode}: {done.stderr}")
                    if not fresh:
                        support.check(support.standing(out) == whole, f"{what} {at}: the dataset was changed")
                    support.run(*arguments)
                    support.check(support.tree(out) == whole, f"{what} {at}: the rerun gives another dataset")
    support.check(stopped > 0, "no fault was noticed")
    print("one failing call:", stopped, "runs stopped,", survived, "gave the whole dataset")


def vanishing_export(work, whole):
    """The export goes away at some moment of an update: what stood stays or is finished by the rerun."""
    out = work / "vanish"
    support.run(*command(work, out))
    for delay in (0.05, 0.15, 0.3):
        gone = work / "gone"
        export = work / "leaving"
        shutil.copytree(work / "cohort" / "export", export)
        tool, *rest = command(work, out, "--threads", 1, export=export)
        process = subprocess.Popen([str(support.BINARIES / tool), *map(str, rest)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        time.sleep(delay)
        export.rename(gone)
        messages = process.communicate(timeout=120)[1]
        support.check(process.returncode in (0, 1, 4), f"exit {process.returncode}: {messages}")
        if process.returncode == 0:
            support.check(support.tree(out) == whole, f"exit 0 after {delay} s, but cases are missing")
        gone.rename(export)
        support.run(*command(work, out, export=export))
        support.check(support.tree(out) == whole, "the rerun differs")
        shutil.rmtree(export)


def full_disk(work, whole):
    """A file may grow to so many bytes and no more, as on a full disk: exit 5 and a message, never a signal."""
    sizes = sorted(len(b) for b in whole.values())
    limits = sorted({1, sizes[0] // 2, *(s - 1 for s in sizes[-6:]), sizes[-1] // 3, sizes[-1] // 2})

    def limited(limit):
        def prepare():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return prepare

    for limit in limits:
        out = work / "full"
        shutil.rmtree(out, ignore_errors=True)
        done = raw(command(work, out, "--isolation", "off"), preexec_fn=limited(limit))
        not_by_signal(done, f"limit {limit}")
        support.check(done.returncode == 5 and "cannot write" in done.stderr, f"limit {limit}: exit {done.returncode}: {done.stderr}")
        support.run(*command(work, out))
        support.check(support.tree(out) == whole, f"limit {limit}: the resumed dataset differs")
    done = raw(command(work, out, "--force"), preexec_fn=limited(limits[-1]))
    support.check(done.returncode == 5 and "ulimit -f" in done.stderr and support.tree(out) == whole, f"no files of memory: {done.stderr}")
    with open("/dev/full", "w") as full:
        for arguments in (["wsp-ingest", "verify", work / "full"], ["wsp-ingest", "scan", work / "cohort" / "export", "--json"]):
            tool, *rest = arguments
            done = subprocess.run([str(support.BINARIES / tool), *map(str, rest)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
            support.check(done.returncode == 5 and "stdout" in done.stderr, f"/dev/full: exit {done.returncode}: {done.stderr}")
    print("a full disk at", len(limits), "sizes: exit 5, resumed")


def first_moments(work, whole):
    """What a kill can leave before the first file stands is no foreign directory."""
    for names in ([], ["run.json.tmp"]):
        out = work / "killed"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name in names:
            (out / name).write_text("{")
        support.run(*command(work, out))
        support.check({k: v for k, v in support.tree(out).items() if not k.endswith(".tmp")} == whole, f"after {names}")
    for i in range(12):  # at random moments of the first 120 ms
        shutil.rmtree(out, ignore_errors=True)
        tool, *rest = command(work, out)
        process = subprocess.Popen([str(support.BINARIES / tool), *map(str, rest)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(0.01 * (i + 1))
        process.kill()
        process.wait()
        support.run(*command(work, out))
        support.check(support.tree(out) == whole, f"killed after {10 * (i + 1)} ms")
    for names in ([], ["state.json.tmp"]):
        qa = work / "qa"
        shutil.rmtree(qa, ignore_errors=True)
        qa.mkdir()
        for name in names:
            (qa / name).write_text("{")
        done = support.run_any("wsp-qa", work / "ds", "--out", qa)
        support.check(done.returncode in (0, 3), f"wsp-qa after {names}: {done.stderr}")
    (work / "notes").mkdir()
    (work / "notes" / "thesis.txt").write_text("three years\n")
    support.run("wsp-qa", work / "ds", "--out", work / "notes", expect=2)
    support.run(*command(work, work / "notes"), expect=5)


def killed_updates(work, whole):
    """An update is killed at random moments: the dataset is what it was, or the new one, and whole either way."""
    export, out, seen = work / "growing", work / "updated", {"old": 0, "new": 0}
    shutil.copytree(work / "cohort" / "export", export)
    last = sorted(p for p in export.iterdir() if p.is_dir())[-1]
    last.rename(work / "kept-back")
    support.run(*command(work, out, export=export))
    old = support.tree(out)
    support.check(old != whole, "the test needs a subject more")
    (work / "kept-back").rename(last)
    shutil.copytree(out, work / "pristine")
    began = time.time()
    support.run(*command(work, out, export=export))
    length = time.time() - began
    support.check(support.tree(out) == whole, "an update differs from a dataset made at once")
    tool, *rest = command(work, out, export=export)
    rounds = 24
    for i in range(rounds):
        shutil.rmtree(out)
        shutil.copytree(work / "pristine", out)
        process = subprocess.Popen([str(support.BINARIES / tool), *map(str, rest)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(length * (0.2 + 0.9 * i / rounds))
        process.kill()
        process.wait()
        now = support.standing(out)
        support.check(now in (old, whole), f"killed after {i}/{rounds}: neither the old dataset nor the new one")
        seen["old" if now == old else "new"] += 1
        support.run("wsp-ingest", "verify", out)
        support.run(*command(work, out, export=export))
        support.check(support.tree(out) == whole, f"killed after {i}/{rounds} and resumed: another dataset")
    support.check(seen["old"] > 0, f"no kill came before the commit: {seen}")
    print("updates killed:", seen)


def keys(work, whole):
    """Two first runs make one key; a planted link is not followed; another key, or a forgotten table, is refused."""
    for i in range(5):
        key = work / f"new-{i}.key"
        (work / f"new-{i}.key.tmp").symlink_to(work / "planted")
        arguments = [without(command(work, work / f"pair-{i}-{k}", "--new-site-key", key), "--site-key") for k in range(3)]
        processes = [subprocess.Popen([str(support.BINARIES / a[0]), *map(str, a[1:])], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
                     for a in arguments]
        ends = [(p.communicate(timeout=120)[1], p.returncode) for p in processes]
        support.check(all(code == 0 for _, code in ends), f"three first runs with one new key: {ends}")
        trees = [support.tree(work / f"pair-{i}-{k}") for k in range(3)]
        support.check(trees[0] == trees[1] == trees[2], "three runs under one key differ")
        support.check(stat.S_IMODE(key.stat().st_mode) == 0o600 and re.fullmatch("[0-9a-f]{64}\n", key.read_text()), "the key")
        support.check(sorted(p.name for p in work.glob(f"new-{i}.key*")) == [key.name, key.name + ".tmp"], "leftovers")
    support.check(not (work / "planted").exists(), "a planted link was followed")
    (work / "other.key").write_text("a5" * 32 + "\n")
    (work / "other.key").chmod(0o600)
    again = command(work, work / "ds")
    wrong = [(without(again, "--site-key") + ["--site-key", work / "other.key"], "another site key"), (without(again, "--labels"), "label table")]
    for arguments, words in wrong:
        for extra in ([], ["--prune"]):
            done = support.run(*arguments, *extra, expect=5)
            support.check(words in done.stderr and support.tree(work / "ds") == whole, f"{words}: {done.stderr}")


def modes(work):
    old = os.umask(0o077)
    try:
        support.run(*command(work, work / "private"))
    finally:
        os.umask(old)
    open_ = [p for p in (work / "private").rglob("*") if p.stat().st_mode & 0o077]
    support.check(not open_, f"the umask takes nothing from {open_}")


def fifos(work):
    """What would wait for a writer is refused at once."""
    fifo = work / "fifo"
    os.mkfifo(fifo)
    usual = command(work, work / "none")
    for arguments in ([usual[0], fifo, *usual[2:]], without(usual, "--site-key") + ["--site-key", fifo], without(usual, "--labels") + ["--labels", fifo],
                      without(usual, "--manifest") + ["--manifest", fifo], [*usual, "--config", fifo], [*usual, "--masks-table", fifo],
                      ["wsp-ingest", "verify", fifo]):
        fifo.chmod(0o600)
        tool, *rest = arguments
        done = subprocess.run([str(support.BINARIES / tool), *map(str, rest)], capture_output=True, text=True, timeout=20)
        support.check(done.returncode in (1, 2, 4, 5, 6), f"{arguments}: exit {done.returncode}: {done.stderr}")


def messages(work):
    """Neither a manifest's patients nor a header's text stand in messages."""
    for text in ('{"name": "x", "subject_map": {"DOE^JANE": 7}}', '{"name": "x", "subject_map": {"DOE^JANE": "a", "DOE^JANE": "b"}}',
                 '{"name": "x", "subject_map": {"DOE^JANE" "b"}}', '{"name": "x", "subject_map": {"DOE^JANE": {"a": 1}}}'):
        (work / "bad.json").write_text(text)
        done = support.run(*without(command(work, work / "none"), "--manifest"), "--manifest", work / "bad.json", expect=2)
        support.check("JANE" not in done.stderr and "bad.json" in done.stderr, done.stderr)


with support.temporary() as directory:
    work = pathlib.Path(directory)
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 3, "--seed", 3, "--slices", "12-14", "--size", 64)
    (work / "site.key").write_text("5a" * 32 + "\n")
    (work / "site.key").chmod(0o600)
    support.run(*command(work, work / "ds"))
    whole = support.tree(work / "ds")
    keys(work, whole)
    fifos(work)
    messages(work)
    modes(work)
    first_moments(work, whole)
    full_disk(work, whole)
    killed_updates(work, whole)
    vanishing_export(work, whole)
    one_failing_call(work, whole)
print("no fault of the system loses a case, ends by a signal or names a patient")
