# SPDX-License-Identifier: GPL-2.0-or-later
"""A patch series in, one verdict out: what it makes worse, compared with its own base.

names of files -> Choice -> Bench (build, boot, judge) -> differences -> commits -> Verdict -> terminal, mail, files
tree.py           choose.py bench.py                      differ.py      run.py                show.py, mail.py
"""
