# SPDX-License-Identifier: GPL-2.0
"""Writes docs/benchmarks.svg and the table of docs/benchmarks.md from build/bench.json. See scripts/bench-report."""

import argparse
import json
import os
import sys
from xml.sax.saxutils import escape

from bench import TREE

CHART, PAGE = f"{TREE}/docs/benchmarks.svg", f"{TREE}/docs/benchmarks.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
# What the chart shows: a title, and what a row's name ends with.
PANELS = (("UDP over IPv4, requests, 4,096 flows", "udp4 request steady"),
          ("UDP over IPv4, replies, 4,096 flows", "udp4 reply steady"),
          ("UDP over IPv4, requests, 1,000,448 flows", "udp4 request large"),
          ("UDP over IPv4, every packet a new flow", "udp4 request new"),
          ("TCP over IPv4, requests, 4,096 connections", "tcp4 request steady"),
          ("UDP over IPv6, requests, 4,096 flows", "udp6 request steady"))
ORDER = ("drop", "redirect-c", "floor", "fep-dr", "fep-nat", "nft-flowtable", "forwarding", "nft-dnat", "ipvs-dr",
         "ipvs-nat", "ipvs-tunnel")
NAMES = {"drop": "dropped at ingress (nft)", "drop-c": "dropped by an empty hook", "redirect-c": "bare redirect in a hook",
         "floor": "floor: C, one address, no table", "forwarding": "plain forwarding", "nft-dnat": "nft DNAT",
         "nft-flowtable": "nft flowtable", "ipvs-nat": "IPVS nat", "ipvs-dr": "IPVS dr", "ipvs-tunnel": "IPVS tunnel",
         "fep-nat": "fep nat", "fep-dr": "fep dr"}
WIDTH, LABEL, BAR, GAP, LEFT = 860, 230, 16, 6, 16


def panels(rows):
    """Titles, each with paths and their instructions per packet, in ORDER."""
    found = {row["name"]: row["insn_per_packet"] for row in rows if "insn_per_packet" in row}
    for title, kind in PANELS:
        bars = [(path, found[f"{path} {kind}"]) for path in ORDER if f"{path} {kind}" in found]
        if bars:
            yield title, bars


def chart(results):
    """The chart as SVG."""
    shown = list(panels(results["rows"]))
    most = max(value for _, bars in shown for _, value in bars)
    scale = (WIDTH - LABEL - 90) / most
    parts, y = [], 56
    for title, bars in shown:
        parts.append(f'<text x="{LEFT}" y="{y}" class="t">{escape(title)}</text>')
        y += 10
        for path, value in bars:
            kind = "f" if path.startswith("fep-") else "o"
            middle = y + BAR - 4
            parts.append(f'<text x="{LABEL - 8}" y="{middle}" class="n">{escape(NAMES[path])}</text>'
                         f'<rect x="{LABEL}" y="{y}" width="{value * scale:.1f}" height="{BAR}" class="{kind}"/>'
                         f'<text x="{LABEL + value * scale + 6:.1f}" y="{middle}">{value:,.0f}</text>')
            y += BAR + GAP
        y += 26
    what = (f"Instructions per packet, generator and devices included. Linux {results['kernel']}, QEMU {results['qemu']}, "
            f"fep {results['fep']}, {results['date']}")
    style = ("text{font:13px sans-serif;fill:#222}.t{font-weight:bold}.n{text-anchor:end}.o{fill:#b8bfc7}.f{fill:#2563a8}"
             "rect.b{fill:#fff}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">'
            f'<style>{style}</style><rect class="b" width="{WIDTH}" height="{y}"/>'
            f'<text x="{LEFT}" y="26">{escape(what)}</text>\n' + "\n".join(parts) + "\n</svg>\n")


def table(results):
    """Every row, as a table of Markdown."""
    lines = [f"Linux {results['kernel']}, QEMU {results['qemu']}, fep {results['fep']}, {results['date']}.", "",
             "| row | flows | instructions per packet | above the drop line | spread |", "|---|---|---|---|---|"]
    for row in results["rows"]:
        if "insn_per_packet" in row:
            lines.append(f"| {row['name']} | {row['flows']:,} | {row['insn_per_packet']:,.0f} | "
                         f"{row.get('above_drop', 0):,.0f} | {row['spread']:.2%} |")
        else:
            lines.append(f"| {row['name']} | | {row.get('skip') or row.get('failed')} | | |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-report", description=__doc__.splitlines()[0])
    parser.add_argument("json", nargs="?", default=f"{TREE}/build/bench.json")
    args = parser.parse_args()
    if not os.path.exists(args.json):
        sys.exit(f"bench-report: {args.json} is not there: make bench writes it")
    with open(args.json, encoding="utf-8") as file:
        results = json.load(file)
    with open(PAGE, encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(CHART, "w", encoding="utf-8") as file:
        file.write(chart(results))
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")


if __name__ == "__main__":
    main()
