//! Every path of the contract: what it takes, what it says that it takes, and a HEAD for each GET.

use std::collections::{BTreeMap, BTreeSet};

use eventyard::api::contract;
use reqwest::Method;

use crate::harness::{TestBus, send};

/// A path with something in the place of each of its names.
fn filled(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment {
        "{bus}" => "default",
        "{key}" => "eyk_000000000000",
        "{sequence}" | "{version}" => "1",
        "{id}" => "1-1",
        name if name.starts_with('{') => "none",
        text => text,
    });
    segments.collect::<Vec<_>>().join("/")
}

fn allowed(answer: &crate::harness::Answer) -> BTreeSet<String> {
    let allow = answer.header("allow").split(',');
    allow.map(|method| method.trim().to_owned()).collect()
}

#[tokio::test]
async fn every_path_says_what_it_takes_and_takes_it() {
    let mut paths: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, path, _) in contract() {
        let taken = paths.entry(path).or_default();
        if method == Method::GET {
            taken.insert("HEAD".to_owned());
        }
        taken.insert(method.to_string());
        taken.insert("OPTIONS".to_owned());
    }
    assert!(paths.len() > 30);
    let bus = TestBus::start().await;
    let methods: Vec<Method> = "GET HEAD POST PUT PATCH DELETE OPTIONS TRACE PURGE"
        .split(' ')
        .map(|name| name.parse().unwrap())
        .collect();
    for (path, taken) in &paths {
        let path = filled(path);
        for method in &methods {
            let place = format!("{method} {path}");
            if !taken.contains(method.as_str()) {
                let answer = send(bus.request(method.clone(), &path)).await;
                assert_eq!(answer.status, 405, "{place}");
                assert_eq!(allowed(&answer), *taken, "{place}");
                if method != Method::HEAD {
                    answer.problem(405);
                }
            } else if method == Method::OPTIONS {
                let answer = send(bus.request(method.clone(), &path)).await;
                assert!(answer.status.is_success(), "{place}: {}", answer.status);
                assert_eq!(allowed(&answer), *taken, "{place}");
                assert!(answer.body.is_empty(), "{place}");
            } else if method == Method::HEAD && !path.ends_with("/tail") {
                let head = send(bus.request(method.clone(), &path)).await;
                let get = bus.get(&path).await;
                assert_eq!(head.status, get.status, "{place}");
                assert!(head.body.is_empty(), "{place}");
                for name in ["content-type", "etag"] {
                    assert_eq!(head.header(name), get.header(name), "{place} {name}");
                }
            }
        }
    }
    // It does not end, unless it is only looked at.
    let head = send(bus.request(Method::HEAD, "/v1/buses/default/tail")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let unknown = send(bus.request(Method::OPTIONS, "/nothing/here")).await;
    unknown.problem(404);
}
