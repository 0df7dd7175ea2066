//! Keys at the command line, as an operator makes the first one; and that no key is in any output.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::eventually;

const ROOT: &str = "root-0123456789abcdef0123456789abcdef";

fn eventyard(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
    command.args(args).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EVENTYARD_") {
            command.env_remove(name);
        }
    }
    command
}

/// A bus that ends with the test; its log lines go to a file.
struct Bus {
    child: std::process::Child,
    url: String,
}

impl Bus {
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(dir: &Path) -> Bus {
    // A port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let listen = addr.to_string();
    let args = [
        "serve",
        "--listen",
        &listen,
        "--access",
        "keys",
        "--log-level",
        "trace",
    ];
    let child = eventyard(&args)
        .current_dir(dir)
        .env("EVENTYARD_ROOT_KEY", ROOT)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let bus = Bus {
        child,
        url: format!("http://{addr}"),
    };
    eventually("the bus is ready", async || {
        let answer = reqwest::get(format!("{}/readyz", bus.url)).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    bus
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn check(output: &Output, exit: i32, stdout: &str, stderr: &str) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{out}\n{err}");
    assert!(out.contains(stdout), "not on stdout: {stdout}\n{out}");
    assert!(err.contains(stderr), "not on stderr: {stderr}\n{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_key_makes_keys_that_work_until_they_are_revoked_and_show_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let bus = serve(dir.path()).await;
    let seen = std::cell::RefCell::new(String::new());
    let run = |key: Option<&str>, args: &[&str]| {
        let mut command = eventyard(args);
        command.env("EVENTYARD_URL", &bus.url).stdin(Stdio::null());
        if let Some(key) = key {
            command.env("EVENTYARD_API_KEY", key);
        }
        let output = command.output().unwrap();
        if !(args.contains(&"create") && output.status.success()) {
            *seen.borrow_mut() += &(text(&output.stdout) + &text(&output.stderr));
        }
        output
    };
    let send = ["send", "--type", "shop.order", "--data", "{}"];
    check(&run(None, &send), 1, "", "EVENTYARD_API_KEY");
    let create = [
        "key",
        "create",
        "shop",
        "--scope",
        "publish",
        "--rate-limit",
        "1000/s",
    ];
    check(&run(None, &create), 1, "", "API key");
    let made = run(Some(ROOT), &create);
    check(
        &made,
        0,
        "eyk_",
        "shop may publish on all buses; 1000/s at most. Keep the key",
    );
    let key = text(&made.stdout).trim().to_owned();
    check(&run(Some(&key), &send), 0, "", "");
    check(&run(Some(&key), &["rule", "list"]), 1, "", "scope `read`");
    check(&run(Some(&key), &["key", "list"]), 1, "", "scope `manage`");
    std::fs::write(dir.path().join("key"), format!("{key}\n")).unwrap();
    let file = dir.path().join("key").display().to_string();
    let from_file = [&send[..], &["--api-key-file", &file]].concat();
    check(&run(None, &from_file), 0, "", "");
    // A variable that is set to nothing is none; a file that holds nothing is a mistake.
    let no_file = [&send[..], &["--api-key-file", ""]].concat();
    check(&run(Some(&key), &no_file), 0, "", "");
    std::fs::write(dir.path().join("empty"), "\n").unwrap();
    let empty = dir.path().join("empty").display().to_string();
    let no_key = [&send[..], &["--api-key-file", &empty]].concat();
    check(&run(Some(&key), &no_key), 2, "", "is empty");
    check(&run(Some(ROOT), &["key", "list"]), 0, &key[..16], "");
    // A whole key that is pasted names the key all the same.
    check(
        &run(Some(ROOT), &["key", "revoke", &key]),
        0,
        &key[..16],
        "",
    );
    check(&run(Some(&key), &send), 1, "", "revoked");
    check(&run(Some("hunter2"), &send), 1, "", "not known");
    check(
        &run(Some(ROOT), &["key", "revoke", "hunter2"]),
        2,
        "",
        "eyk_",
    );
    check(&run(Some(ROOT), &["key", "list"]), 0, "revoked", "");

    let mut log = String::new();
    let path = dir.path().join("log");
    std::fs::File::open(path)
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(
        log.contains("an API key was revoked"),
        "the log was found:\n{log}"
    );
    for text in [&*seen.borrow(), &log] {
        for secret in [&key[17..], ROOT, "hunter2"] {
            assert!(!text.contains(secret), "{secret} shows in:\n{text}");
        }
    }
    let data = std::fs::read_to_string(dir.path().join("data/keys.json")).unwrap();
    assert!(!data.contains(&key[17..]) && data.contains(&key[..16]));
}

/// What was answered is on disk: no kill brings a revoked key back or loses a new one.
#[tokio::test(flavor = "multi_thread")]
async fn keys_and_their_end_survive_kills() {
    let dir = tempfile::tempdir().unwrap();
    let run = |bus: &Bus, key: &str, args: &[&str]| {
        let mut command = eventyard(args);
        command.env("EVENTYARD_URL", &bus.url);
        command.env("EVENTYARD_API_KEY", key);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let mut bus = serve(dir.path()).await;
    let mut revoked: Option<String> = None;
    for round in 0..3 {
        let made = run(&bus, ROOT, &["key", "create", "k", "--scope", "read"]);
        bus.kill();
        check(&made, 0, "eyk_", "");
        let key = text(&made.stdout).trim().to_owned();
        bus = serve(dir.path()).await;
        check(&run(&bus, &key, &["rule", "list"]), 0, "", "");
        if let Some(revoked) = &revoked {
            check(&run(&bus, revoked, &["rule", "list"]), 1, "", "revoked");
        }
        let end = run(&bus, ROOT, &["key", "revoke", &key[..16]]);
        bus.kill();
        check(&end, 0, &key[..16], "");
        bus = serve(dir.path()).await;
        let late = run(&bus, &key, &["rule", "list"]);
        check(&late, 1, "", "revoked");
        revoked = Some(key);
        let list = run(&bus, ROOT, &["key", "list", "--output", "json"]);
        let keys = text(&list.stdout).matches(r#""state":"revoked""#).count();
        assert_eq!(keys, round + 1, "{}", text(&list.stdout));
    }
}

#[test]
fn a_public_address_without_access_control_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = eventyard(args).current_dir(dir.path()).output();
        output.expect("the program starts")
    };
    let open = ["serve", "--listen", "0.0.0.0:0"];
    check(&run(&open), 5, "", "");
    let told = run(&open);
    let told = text(&told.stdout) + &text(&told.stderr);
    assert!(
        told.contains("--access off") && told.contains("--access keys"),
        "{told}"
    );
    let keyed = ["serve", "--listen", "127.0.0.1:0", "--access", "keys"];
    let no_root = [&keyed[..], &["--root-key-file", "nowhere"]].concat();
    check(&run(&no_root), 5, "", "the root key in nowhere");
    check(
        &run(&["doctor", "--listen", "0.0.0.0:0"]),
        1,
        "--access keys",
        "",
    );
    check(
        &run(&["doctor", "--listen", "0.0.0.0:0", "--access", "off"]),
        0,
        "everybody who reaches",
        "",
    );
}
