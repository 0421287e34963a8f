# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian in a directory, made by debootstrap, and commands run in it as root, in namespaces of their own.

Mounts belong to the namespace: they are gone with its last process, however that ends.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from dmasafe.kernel import apt

#: Where checkouts lie in a host, and what a user of a fresh Debian installs first (README, "What it needs").
CHECKOUT = "/root/dmasafe"
FIRST_PACKAGES = ("ca-certificates", "git", "make")
# Where debootstrap has no script of a newer suite's name, all suites since bookworm are made as sid is.
DEBOOTSTRAP_SCRIPT = Path("/usr/share/debootstrap/scripts/sid")
CERTIFICATES = "/etc/ssl/certificates-of-the-machine.pem"
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
_NETWORK_VARIABLES = re.compile(
    r"(https?|ftp|no|all)_proxy|PIP_(INDEX_URL|EXTRA_INDEX_URL|PROXY|DEFAULT_TIMEOUT)", re.I
)
_APT_NETWORK = re.compile(r"^Acquire::(?!IndexTargets|Languages|.*Auto-?Detect)", re.I)
# proc is the namespace's own; /dev holds /dev/kvm.
_ENTER = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --rbind /sys "$1/sys" || exit 125
root=$1; shift
while [ "$1" != -- ]; do
	mount --bind "$1" "$root$2" && mount -o remount,ro,bind "$root$2" || exit 125
	shift 2
done
shift
# The shell stays, as the namespace's first process: it reaps orphans.
chroot "$root" "$@"; exit $?
"""


class HostError(Exception):
    """A sentence for whoever asked for a host."""


def need(*programs):
    """HostError, in one sentence, unless this user is root and the programs are there."""
    if os.geteuid() != 0:
        raise HostError("making a Debian in a directory needs root: run this with sudo, or in a container as root")
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise HostError(f"{', '.join(missing)} is missing: apt-get install debootstrap util-linux coreutils")


def mirror():
    """The Debian mirror that this machine's apt uses."""
    return re.search(r"^URIs: (\S+)", apt.archive_stanza("sid"), re.M)[1]


def bootstrap(suite, root, log):
    """Make a minimal Debian of ``suite`` in ``root``, which must not be there; what is written here is whole or absent.

    It gets this machine's way to the network (proxies, certificates, name service) and nothing else of it.
    """
    need("debootstrap", "unshare", "chroot")
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(FIRST_PACKAGES)}"]
    command += [suite, part, mirror(), DEBOOTSTRAP_SCRIPT]
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode:
        raise HostError(f"debootstrap of {suite} failed: its words are in {log.name}")
    (part / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (part / "usr/sbin/policy-rc.d").chmod(0o755)
    share_network(part)
    own = Path("/usr/local/share/ca-certificates")
    if own.is_dir():
        shutil.copytree(own, part / "usr/local/share/ca-certificates", dirs_exist_ok=True)
        run(part, ["update-ca-certificates"])
    part.rename(root)


def share_network(root):
    """Copy into ``root`` what apt, pip and git need to reach the network as this machine does."""
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(f"/etc/{name}", root / "etc" / name)
    if Path("/etc/pip.conf").is_file():
        shutil.copyfile("/etc/pip.conf", root / "etc/pip.conf")
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    settings = [line for line in dump.splitlines() if _APT_NETWORK.match(line) and not line.endswith('"";')]
    (root / "etc/apt/apt.conf.d/90machine").write_text("\n".join(settings) + "\n")
    shutil.copytree("/etc/apt/auth.conf.d", root / "etc/apt/auth.conf.d", dirs_exist_ok=True)
    if certificates := _certificates():
        shutil.copyfile(certificates, root / CERTIFICATES.lstrip("/"))


def _certificates():
    named = (os.environ.get(name, "") for name in _CERTIFICATE_VARIABLES)
    return next((path for path in named if Path(path).is_file()), None)


def environment(**more):
    """The whole environment of a command in a host: a fresh root's, and this machine's way to the network."""
    clean = {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    clean |= {"LANG": "C.UTF-8", "TERM": "dumb", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    clean |= {name: value for name, value in os.environ.items() if _NETWORK_VARIABLES.fullmatch(name)}
    if _certificates():
        clean |= dict.fromkeys(_CERTIFICATE_VARIABLES, CERTIFICATES)
    return clean | more


def run(root, command, *, cwd="/", read_only=None, log=None, timeout=None, **variables):
    """Run ``command`` (a list) in ``root``; a CompletedProcess whose output is in ``log`` or, without one, captured.

    ``read_only`` maps directories of this machine to places in ``root``. Raises HostError after ``timeout`` seconds.
    """
    binds = [word for path, place in (read_only or {}).items() for word in (str(path), place)]
    for place in binds[1::2]:
        (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
    # A session of its own: Ctrl-C reaches this process, which ends the namespace's first process and so all of them.
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    words += ["sh", "-c", _ENTER, "enter", str(root), *binds, "--", "env", "-C", cwd, *command]
    output = {"stdout": log, "stderr": subprocess.STDOUT} if log else {"stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, env=environment(**variables), start_new_session=True, **output
    )
    try:
        out, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise HostError(f"{' '.join(command)} was stopped after {timeout} s") from None
    finally:
        # --kill-child: the namespace dies with unshare.
        process.kill()
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out)


def place_checkout(source, root):
    """Put the checkout ``source``, as it is now (what git ignores left out), into the host; its revision.

    What an earlier run left there that git ignores (.venv/, out/) stays.
    """

    def git(*words):
        command = ["git", "-c", "safe.directory=*", *words]
        return subprocess.run(command, cwd=source, capture_output=True, text=True, check=True).stdout

    here = root / CHECKOUT.lstrip("/")
    if not (here / ".git").is_dir():
        shutil.rmtree(here, ignore_errors=True)
        git("clone", "--quiet", "--no-hardlinks", str(source), str(here))
    git("-C", str(here), "fetch", "--quiet", str(source), "HEAD")
    git("-C", str(here), "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    git("-C", str(here), "clean", "--quiet", "-d", "--force")
    for name in filter(None, git("ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0")):
        (here / name).unlink(missing_ok=True)
        if (source / name).exists():
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, here / name, follow_symlinks=False)
    return git("rev-parse", "HEAD").strip()
