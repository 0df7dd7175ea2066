//! A command of the program that runs beside the bus, and dies with the test.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use reqwest::Client;
use serde_json::json;

pub(crate) struct Running(Child);

impl Running {
    /// Starts `eventyard` with these arguments, towards the bus; what it prints goes to `out`.
    pub(crate) fn start(bus: SocketAddr, out: Stdio, arguments: &[&str]) -> Running {
        let child = Command::new(env!("CARGO_BIN_EXE_eventyard"))
            .args(arguments)
            .args(["--url", &format!("http://{bus}")])
            .env_remove("EVENTYARD_API_KEY")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running(child)
    }

    /// Sends it a signal, such as `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Publishes `wanted-N` and `unwanted-N` for each number, one after the other.
pub(crate) async fn publish(bus: SocketAddr, numbers: std::ops::Range<usize>) {
    let http = Client::builder().no_proxy().build().unwrap();
    for n in numbers {
        for kind in ["wanted", "unwanted"] {
            let event = json!({"specversion": "1.0", "id": format!("{kind}-{n}"), "source": "/s", "type": kind});
            let request = http.post(format!("http://{bus}/"));
            let request = request.header("content-type", "application/cloudevents+json");
            let answer = request.body(event.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 202);
        }
    }
}
