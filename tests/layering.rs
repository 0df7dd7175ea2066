//! Holds the table of who may use whom (`docs/ARCHITECTURE.md`): a new edge is a decision, so it
//! is written down here before it compiles in CI.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A module and the modules of this crate that it may name.
const TABLE: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("clock", &[]),
    ("measure", &[]),
    ("cause", &[]),
    ("seldom", &[]),
    ("json", &["limits"]),
    ("secret", &["limits", "clock"]),
    ("webhook", &[]),
    ("event", &["json", "limits"]),
    ("span", &["event", "clock", "limits"]),
    ("pattern", &["json", "limits"]),
    ("query", &["event", "json", "limits"]),
    ("transform", &["event", "json", "query", "limits"]),
    ("guard", &["seldom"]),
    ("journal", &["limits", "clock", "measure"]),
    ("store", &["limits"]),
    ("log", &["event", "journal", "store", "clock", "limits"]),
    (
        "rule",
        &[
            "json",
            "event",
            "pattern",
            "query",
            "transform",
            "guard",
            "secret",
            "log",
            "limits",
        ],
    ),
    (
        "access",
        &[
            "event", "pattern", "secret", "log", "rule", "clock", "limits",
        ],
    ),
    ("backtest", &["event", "log", "rule", "clock", "limits"]),
    (
        "delivery",
        &[
            "cause",
            "seldom",
            "span",
            "event",
            "query",
            "transform",
            "guard",
            "secret",
            "webhook",
            "log",
            "rule",
            "clock",
            "limits",
            "measure",
        ],
    ),
    (
        "router",
        &[
            "clock", "span", "event", "log", "rule", "delivery", "limits", "measure",
        ],
    ),
    (
        "schedule",
        &[
            "seldom", "span", "event", "log", "rule", "delivery", "router", "clock", "limits",
        ],
    ),
    ("stages", &[]),
    ("tls", &["limits"]),
    ("audit", &["clock", "limits"]),
    ("backup", &["log", "clock", "limits"]),
    ("telemetry", &[]),
    (
        "api",
        &[
            "span",
            "access",
            "audit",
            "backtest",
            "backup",
            "json",
            "event",
            "pattern",
            "secret",
            "webhook",
            "log",
            "rule",
            "delivery",
            "router",
            "schedule",
            "telemetry",
            "tls",
            "clock",
            "limits",
            "measure",
        ],
    ),
    // `rule` reads durations and sizes the same way in every document of ours.
    (
        "config",
        &[
            "span",
            "access",
            "api",
            "audit",
            "delivery",
            "guard",
            "log",
            "rule",
            "secret",
            "telemetry",
            "tls",
            "limits",
        ],
    ),
    (
        "app",
        &[
            "span",
            "access",
            "api",
            "audit",
            "clock",
            "config",
            "delivery",
            "limits",
            "log",
            "router",
            "schedule",
            "rule",
            "secret",
            "stages",
            "telemetry",
            "tls",
        ],
    ),
    ("client", &["cause", "event"]),
    // What a subcommand checks without a bus: events, patterns, rule files.
    (
        "cli",
        &[
            "access",
            "backup",
            "client",
            "app",
            "config",
            "delivery",
            "telemetry",
            "tls",
            "event",
            "pattern",
            "guard",
            "rule",
            "log",
            "journal",
            "store",
            "clock",
            "limits",
        ],
    ),
];

/// A text that only some modules may hold, and why.
const RESERVED: &[(&str, &[&str], &str)] = &[
    (
        "sled::",
        &["store"],
        "what is kept by key is reached through `store`",
    ),
    (
        "StatusCode",
        &["api", "client", "cli", "delivery"],
        "lower layers know no statuses of ours; delivery, client and cli read those of others",
    ),
    (
        "axum::",
        &["api", "cli"],
        "only `api` serves (and the receivers of `quickstart` and `bench`)",
    ),
    (
        "SystemTime::now",
        &["clock"],
        "ask `Clock`, so that tests own time",
    ),
];

/// What does input or output; `pattern` does none.
const IO: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "tokio",
    "tracing",
];

/// A source file of the crate, without its comments and its tests.
struct Source {
    path: PathBuf,
    module: String,
    code: String,
}

#[test]
fn a_module_uses_only_what_the_table_names() {
    let mut breaches = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = TABLE.iter().find(|(module, _)| *module == source.module) else {
            breaches.push(format!("{}: not in the table", source.path.display()));
            continue;
        };
        for used in uses(&source.code) {
            if used != source.module && !allowed.contains(&used.as_str()) {
                breaches.push(format!(
                    "{}: `{}` uses `crate::{used}`",
                    source.path.display(),
                    source.module
                ));
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn some_things_are_known_in_one_place_only() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (text, modules, reason) in RESERVED {
            if source.code.contains(text) && !modules.contains(&source.module.as_str()) {
                breaches.push(format!("{}: `{text}`: {reason}", source.path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn every_route_of_the_api_stands_in_the_one_table() {
    let mut found = Vec::new();
    for source in sources() {
        let ways = [".route(", ".nest(", ".merge(", "_service(", "Router::new("];
        for way in ways.iter().filter(|_| source.module == "api") {
            let path = source.path.display().to_string();
            found.extend(source.code.matches(way).map(|_| format!("{path}: {way}")));
        }
    }
    // What is added elsewhere asks no caller for a key.
    found.sort();
    let table = "src/api/routes.rs: ";
    let expected = [".route(", "Router::new("].map(|way| format!("{table}{way}"));
    assert_eq!(found, expected);
}

#[test]
fn patterns_do_no_input_or_output() {
    let mut breaches = Vec::new();
    for source in sources() {
        let io = IO.iter().filter(|text| source.code.contains(**text));
        if source.module == "pattern" {
            breaches.extend(io.map(|text| format!("{}: `{text}`", source.path.display())));
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    for (index, (module, allowed)) in TABLE.iter().enumerate() {
        let above: Vec<&str> = TABLE[..index].iter().map(|(module, _)| *module).collect();
        for used in *allowed {
            assert!(above.contains(used), "`{module}` stands above `{used}`");
        }
    }
}

#[test]
fn every_bound_is_in_use() {
    let sources = sources();
    let (limits, others): (Vec<_>, Vec<_>) =
        sources.iter().partition(|source| source.module == "limits");
    let lines = limits[0].code.lines();
    let names = lines.filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let unused: Vec<&str> = names
        .filter(|name| {
            let used = format!("limits::{name}");
            !others.iter().any(|source| source.code.contains(&used))
        })
        .collect();
    assert!(unused.is_empty(), "no code holds {unused:?}");
}

#[test]
fn uses_are_found_in_every_spelling() {
    let check = |code: &str, expected: &[&str]| {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(uses(code), expected, "{code}");
    };
    check("use crate::log::Log;", &["log"]);
    check(
        "use crate::{api, log::{Log, Disk}, rule};",
        &["api", "log", "rule"],
    );
    check(
        "use crate::{\n    event::Event,\n    limits,\n};",
        &["event", "limits"],
    );
    check(
        "let x = crate::limits::BODY_BYTES + y(crate::clock::Clock);",
        &["clock", "limits"],
    );
    check("fn f() { super::x(); my_crate::log::x(); }", &[]);
    let stripped =
        strip("use a; // crate::x\n/// crate::y\n#[cfg(test)]\nmod tests {\n use crate::z;\n}\n");
    check(&stripped, &[]);
    assert!(stripped.contains("use a;"));
    assert!(strip("#[cfg(test)]\nmod tests;\nfn f() {}\n").contains("fn f()"));
}

/// Every file below `src/` but `lib.rs`, `main.rs` and test files.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut sources = Vec::new();
    for path in files {
        let inner = path.strip_prefix(&root).unwrap().with_extension("");
        let parts: Vec<&str> = inner.iter().map(|part| part.to_str().unwrap()).collect();
        let is_test = parts.iter().any(|part| {
            ["tests", "properties", "oracle"].contains(part) || part.ends_with("_tests")
        });
        if is_test || parts == ["lib"] || parts == ["main"] {
            continue;
        }
        sources.push(Source {
            module: parts[0].to_owned(),
            code: strip(&std::fs::read_to_string(&path).unwrap()),
            path: Path::new("src").join(path.strip_prefix(&root).unwrap()),
        });
    }
    assert!(sources.len() > 20, "the sources were found");
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Without line comments and without test modules, which stand last in their file by custom.
fn strip(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let tests_follow = lines
            .peek()
            .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line == "#[cfg(test)]" && tests_follow {
            break;
        }
        // A `//` inside a string, as in a URL, costs the rest of that line: no module is named there.
        kept.push_str(line.split("//").next().unwrap_or_default());
        kept.push('\n');
    }
    kept
}

/// The first segments of all paths that begin with `crate::`.
fn uses(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let boundary = code[..at].chars().next_back();
        if boundary.is_some_and(|before| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.extend(head(rest)),
        }
    }
    found
}

/// The heads of `a, b::{c, d}, e}`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut starts) = (0_usize, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            c if starts && !c.is_whitespace() => {
                heads.extend(head(&group[at..]));
                starts = false;
            }
            _ => {}
        }
    }
    heads
}

/// The leading lower-case identifier: a module.
fn head(path: &str) -> Option<String> {
    let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let head = &path[..end.unwrap_or(path.len())];
    head.starts_with(|c: char| c.is_ascii_lowercase())
        .then(|| head.to_owned())
}
