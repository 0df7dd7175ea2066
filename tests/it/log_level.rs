//! What the bus logs, changed while it runs; at the real program, whose lines are looked at.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::delivery::event;
use crate::harness::{Answer, TestBus, eventually, send};

const LEVEL: &str = "/v1/log-level";

struct Bus {
    child: Child,
    dir: TempDir,
    url: String,
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(dir: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(dir.join("stderr")).unwrap_or_default();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines.collect()
}

impl Bus {
    async fn start() -> Bus {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("rules")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTYARD_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let url = eventually("the bus's address", async || {
            let lines = lines(dir.path());
            let line = lines
                .iter()
                .find(|line| line["message"] == "the bus answers")?;
            Some(format!("http://{}", line["addr"].as_str()?))
        })
        .await;
        Bus { child, dir, url }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        send(request).await
    }

    /// Something happens that `debug` tells of: the `number`th delivery fails. Lines of that level.
    async fn fail(&self, number: usize) -> usize {
        let published = reqwest::Client::new()
            .post(&self.url)
            .header("content-type", "application/cloudevents+json")
            .body(event(&number.to_string()).to_string());
        assert_eq!(send(published).await.status, 202);
        eventually("a dead letter", async || {
            let path = "/v1/buses/default/dead-letters";
            let letters = self.ask(Method::GET, path, None).await.json();
            let letters = letters["dead_letters"].as_array().unwrap().len();
            (letters == number).then_some(())
        })
        .await;
        let lines = lines(self.dir.path());
        lines.iter().filter(|line| line["level"] == "DEBUG").count()
    }
}

#[tokio::test]
async fn the_level_changes_while_the_bus_runs_and_back() {
    let bus = Bus::start().await;
    let shown = bus.ask(Method::GET, LEVEL, None).await.json();
    assert_eq!(shown, json!({"level": "info", "configured": "info"}));
    let nobody = json!({"pattern": {"type": [{"prefix": "order."}]}, "targets": [
        {"id": "nobody", "url": "http://127.0.0.1:9/", "retry": {"max_attempts": 1}}
    ]});
    let rule = "/v1/buses/default/rules/orders";
    assert_eq!(bus.ask(Method::PUT, rule, Some(&nobody)).await.status, 201);
    assert_eq!(bus.fail(1).await, 0);

    let level = json!({"level": "info,eventyard::delivery=debug"});
    let shown = bus.ask(Method::PUT, LEVEL, Some(&level)).await.json();
    assert_eq!(shown["level"], level["level"]);
    let told = bus.fail(2).await;
    assert!(told > 0);
    let lines = lines(bus.dir.path());
    let change = lines.iter().find(|line| line["now"] == level["level"]);
    assert_eq!(change.unwrap()["before"], "info");

    let shown = bus.ask(Method::DELETE, LEVEL, None).await.json();
    assert_eq!(shown["level"], "info");
    assert_eq!(bus.fail(3).await, told);
    let output = Command::new(env!("CARGO_BIN_EXE_eventyard"))
        .args(["log-level", "warn", "--url", &bus.url])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(out, "warn  (configured: info)\n");
}

#[tokio::test]
async fn what_is_no_level_is_refused() {
    let bus = TestBus::start().await;
    let problem = bus.put(LEVEL, &json!({"level": "inof"})).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/level");
    for bad in [
        json!({}),
        json!({"level": 3}),
        json!({"level": "info", "x": 1}),
    ] {
        bus.put(LEVEL, &bad).await.problem(422);
    }
    let long = "a".repeat(70_000);
    bus.put(LEVEL, &json!({"level": long})).await.problem(413);
    assert_eq!(bus.get(LEVEL).await.json()["level"], "info");
}
