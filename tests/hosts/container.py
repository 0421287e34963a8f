# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.hosts.container``: build the Containerfile with buildah, run the documented command in the image.

The base image is made by debootstrap, so that no registry is asked. The kernel tree is mounted read-only.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.hosts import directory
from tests.hosts.__main__ import HOSTS, ROOT, hosts_directory
from tests.hosts.directory import HostError

BASE = "docker.io/library/debian:trixie-slim"
IMAGE = "localhost/dmasafe"
MEMORY = "13"


class Buildah:
    """buildah with a storage of its own; its containers go with it, its images stay for the next time."""

    def __init__(self, place):
        self.words = ["buildah", "--root", str(place / "storage"), "--runroot", str(place / "run")]
        self.containers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in self.containers:
            self("rm", name)

    def __call__(self, *words, capture=False):
        done = subprocess.run([*self.words, *map(str, words)], stdout=subprocess.PIPE if capture else None, text=True)
        if capture and done.returncode:
            raise HostError(f"buildah {words[0]} failed (see above)")
        return done.stdout.strip() if capture else done.returncode

    def start(self, image):
        """A new container of this image ("scratch": of none)."""
        name = self("from", "--pull-never", image, capture=True)
        self.containers.append(name)
        return name


def build(buildah, place):
    """The image, from a base that is made if it is not there yet; layers that did not change are taken again."""
    if buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", BASE) != 0:
        base = place / MEMORY / "base"
        if not base.is_dir():
            base.parent.mkdir(parents=True, exist_ok=True)
            with (base.parent / "debootstrap.log").open("w") as log:
                directory.bootstrap(HOSTS[MEMORY], base, log)
        container = buildah.start("scratch")
        buildah("add", "--quiet", container, f"{base}/", capture=True)
        buildah("config", "--cmd", "bash", container, capture=True)
        buildah("commit", "--quiet", container, BASE, capture=True)
    # chroot: no user namespaces and no cgroups are needed, so that it works inside a container too.
    words = ("--isolation", "chroot", "--pull=never", "--layers", "--file", ROOT / "Containerfile", "--tag", IMAGE)
    if buildah("build", *words, ROOT):
        raise HostError("buildah could not build the Containerfile (see above)")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.container", description=__doc__)
    parser.add_argument("--kdir", type=Path, help="a kernel tree, mounted read-only at /linux")
    parser.add_argument("--cache", type=Path, help="what is mounted at /cache (default: the container host's own)")
    parser.add_argument("command", nargs="*", help="default: make test-qemu, with KDIR=/linux if there is --kdir")
    options = parser.parse_args()
    place = hosts_directory()
    cache = (options.cache or place / "container" / "cache").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        directory.need("buildah")
        with Buildah(place / "container") as buildah:
            build(buildah, place)
            container = buildah.start(IMAGE)
            volumes = ["--volume", f"{cache}:/cache"]
            volumes += ["--volume", f"{options.kdir.resolve()}:/linux:ro"] if options.kdir else []
            # What docker's --device does: hand in the node if there is one.
            volumes += ["--volume", "/dev/kvm:/dev/kvm"] if os.access("/dev/kvm", os.R_OK | os.W_OK) else []
            command = options.command or ["make", "test-qemu", *(["KDIR=/linux"] if options.kdir else [])]
            return buildah("run", "--isolation", "chroot", *volumes, container, "--", *command)
    except HostError as error:
        print(f"tests.hosts.container: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
