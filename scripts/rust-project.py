"""Adds fep's kernel crates to the kernel's rust-project.json (standard input to output)."""

import json
import os
import sys

# Name, root file, the crates it uses besides the kernel's; as in Kbuild.
CRATES = [
    ("fep_uapi", "rust/uapi/fep_uapi.rs", []),
    ("fep_core", "rust/core/fep_core.rs", ["fep_uapi"]),
    ("fep_net", "rust/net/fep_net.rs", []),
    ("fep", "module/fep.rs", ["fep_uapi", "fep_core", "fep_net"]),
]
KERNEL = ["core", "kernel", "macros", "pin_init", "pin_init_internal", "zerocopy", "zerocopy_derive",
          "compiler_builtins", "ffi", "bindings", "uapi", "build_error"]


def existing(crates):
    """Without the drivers and samples, whose sources set-up does not keep."""
    kept = [at for at, crate in enumerate(crates) if os.path.exists(crate["root_module"])]
    now = {at: place for place, at in enumerate(kept)}
    for at in kept:
        crates[at]["deps"] = [{**dep, "crate": now[dep["crate"]]}
                              for dep in crates[at]["deps"] if dep["crate"] in now]
    return [crates[at] for at in kept]


def main():
    tree, release = sys.argv[1:]
    project = json.load(sys.stdin)
    crates = project["crates"] = existing(project["crates"])
    number = {crate["display_name"]: at for at, crate in enumerate(crates)}
    kernel = crates[number["kernel"]]
    bindings = f"{tree}/build/{release}/module/rust/bindings/bindings_generated.rs"
    for name, root, uses in CRATES:
        deps = [{"crate": number[k], "name": k} for k in KERNEL if k in number]
        deps += [{"crate": number[u], "name": u} for u in uses]
        number[name] = len(crates)
        crates.append({
            "display_name": name,
            "root_module": os.path.join(tree, root),
            "is_workspace_member": True,
            "is_proc_macro": False,
            "edition": "2021",
            "deps": deps,
            "cfg": [*kernel["cfg"], "kernel", "MODULE"],
            "env": {"RUST_MODFILE": "fep", "FEP_BINDINGS": bindings, **kernel.get("env", {})},
            "source": {"include_dirs": [os.path.dirname(os.path.join(tree, root)),
                                        os.path.dirname(bindings)], "exclude_dirs": []},
        })
    json.dump(project, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
