//! A whole bus on a free port, its data in a folder that goes with the test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use eventyard::app::{App, Running};
use eventyard::clock::Clock;
use eventyard::config::Config;
use eventyard::log::Disk;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{contract, eventually};

/// A bus that runs in this process.
pub(crate) struct TestBus {
    running: Running,
    http: reqwest::Client,
    data: Arc<TempDir>,
}

/// A bus to be started; everything has a default.
#[derive(Default)]
pub(crate) struct TestBusBuilder {
    data: Option<Arc<TempDir>>,
    disk: Option<Disk>,
    clock: Option<Clock>,
    rules: Vec<(String, String, Value)>,
    adjust: Option<Adjust>,
}

type Adjust = Box<dyn FnOnce(&mut Config) + Send>;

/// A whole HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl TestBus {
    /// A bus with nothing in it.
    pub(crate) async fn start() -> TestBus {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> TestBusBuilder {
        TestBusBuilder::default()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.running.addr()
    }

    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// The folder of its data and, under `rules`, of its rule files.
    pub(crate) fn dir(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn put(&self, path: &str, document: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(document)).await
    }

    pub(crate) async fn post(&self, path: &str, document: &Value) -> Answer {
        send(self.request(Method::POST, path).json(document)).await
    }

    /// Publishes one event in structured mode to the bus `default`; its sequence.
    pub(crate) async fn publish(&self, event: &Value) -> u64 {
        let request = self
            .request(Method::POST, "/")
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string());
        let answer = send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.json()["accepted"][0]["sequence"].as_u64().unwrap()
    }

    /// Puts a rule of the bus `default`, which must be taken.
    pub(crate) async fn put_rule(&self, name: &str, rule: &Value) -> Answer {
        let answer = self
            .put(&format!("/v1/buses/default/rules/{name}"), rule)
            .await;
        assert!(answer.status.is_success(), "{answer:?}");
        answer
    }

    /// Asks for a document until it says what it must, and returns it. (What was just published may not
    /// be routed yet, and what was just answered not yet be counted: a single look proves nothing.)
    #[track_caller]
    pub(crate) fn until<'t>(
        &'t self,
        path: &'t str,
        what: &'t str,
        mut holds: impl FnMut(&Value) -> bool + 't,
    ) -> impl Future<Output = Value> + 't {
        eventually(what, async move || {
            let document = self.get(path).await.json();
            holds(&document).then_some(document)
        })
    }

    /// Finishes what is under way and stops; a builder with the returned folder starts it again.
    pub(crate) async fn drain(self) -> Arc<TempDir> {
        self.running.drain().await.unwrap();
        self.data
    }
}

impl TestBusBuilder {
    /// Goes on with the data of a bus before.
    pub(crate) fn data(mut self, data: Arc<TempDir>) -> Self {
        self.data = Some(data);
        self
    }

    pub(crate) fn disk(mut self, disk: Disk) -> Self {
        self.disk = Some(disk);
        self
    }

    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Writes a rule file before the start.
    pub(crate) fn rule(mut self, bus: &str, name: &str, rule: Value) -> Self {
        self.rules.push((bus.to_owned(), name.to_owned(), rule));
        self
    }

    /// Changes the configuration before the start.
    pub(crate) fn config(mut self, adjust: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        self.adjust = Some(Box::new(adjust));
        self
    }

    pub(crate) async fn start(self) -> TestBus {
        self.try_start().await.unwrap()
    }

    /// Starts, or says why not.
    pub(crate) async fn try_start(self) -> anyhow::Result<TestBus> {
        let data = self
            .data
            .unwrap_or_else(|| Arc::new(TempDir::new().unwrap()));
        let rules = data.path().join("rules");
        std::fs::create_dir_all(&rules)?;
        for (bus, name, rule) in self.rules {
            std::fs::create_dir_all(rules.join(&bus))?;
            std::fs::write(
                rules.join(bus).join(format!("{name}.json")),
                rule.to_string(),
            )?;
        }
        let mut config = Config::in_dir(data.path().join("data"));
        config.rules_dir = Some(rules);
        config.api.listen.set_port(0);
        // Small: a test writes little, and a segment is zeroed before it is used.
        config.log.segment_bytes = 4 << 20;
        if let Some(adjust) = self.adjust {
            adjust(&mut config);
        }
        let mut app = App::new(config);
        if let Some(disk) = self.disk {
            app = app.disk(disk);
        }
        if let Some(clock) = self.clock {
            app = app.clock(clock);
        }
        Ok(TestBus {
            running: app.build().await?,
            http: reqwest::Client::new(),
            data,
        })
    }
}

/// Sends a request that must be answered, however; the answer must be one that the API describes.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let (http, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = http.execute(request).await.unwrap();
    let answer = Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    };
    contract::check(method.as_str(), &path, &answer);
    answer
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem document (RFC 9457) of this status, and returns it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], json!(status));
        for member in ["type", "title", "detail"] {
            let text = problem[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "a problem has `{member}`: {problem}");
        }
        problem
    }
}
