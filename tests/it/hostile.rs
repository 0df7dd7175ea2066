//! Targets that misbehave, over real sockets: each gets its clear outcome, and a healthy target
//! beside them all misses nothing.

use clap::ValueEnum as _;
use serde_json::json;

use crate::harness::{TestBus, TestTarget, eventually};

/// `eventyard bench hostile` measures what a healthy target notices of the same targets.
#[path = "../../src/cli/bench/hostile/target.rs"]
mod target;

use target::{Hostile, Manner};

/// How its delivery must end.
#[derive(Debug, Clone, Copy)]
enum End {
    Delivered,
    /// Given up, with this in the error.
    Dead(&'static str),
}

const TABLE: &[(Manner, End)] = &[
    (Manner::NeverAnswers, End::Dead("no answer within")),
    (Manner::NeverReads, End::Dead("no answer within")),
    (Manner::DripsHead, End::Dead("no answer within")),
    (Manner::DripsBody, End::Dead("body did not end")),
    // The status is what counts; nobody reads 10 GB to learn more.
    (Manner::EndlessBody, End::Delivered),
    (Manner::EndlessErrorBody, End::Dead("xxx")),
    (Manner::GzipBomb, End::Delivered),
    (Manner::ClosesInBody, End::Dead("broke off")),
    (Manner::ClosesAtOnce, End::Dead("connection")),
    (Manner::Resets, End::Dead("reset")),
    (
        Manner::FloodsWithContinue,
        End::Dead("interim answers (1xx)"),
    ),
    (Manner::LargeHead, End::Delivered),
    (Manner::HugeHead, End::Dead("connection failed")),
    (Manner::ManyHeaders, End::Dead("connection failed")),
    (Manner::BadLength, End::Dead("connection failed")),
    (Manner::TwoLengths, End::Dead("connection failed")),
    (Manner::MoreThanItsLength, End::Delivered),
    (Manner::NotHttp, End::Dead("connection failed")),
    (Manner::SwitchesProtocols, End::Dead("")),
    (Manner::BadChunks, End::Dead("broke off")),
    (Manner::KeepsOpen, End::Delivered),
    (Manner::ClosesAlways, End::Delivered),
    (Manner::GoesSilent, End::Delivered),
    (Manner::TlsIsPlain, End::Dead("does not speak TLS")),
    (Manner::TlsAlerts, End::Dead("TLS: ")),
    (Manner::TlsHangs, End::Dead("no answer within")),
    (Manner::Flaps, End::Delivered),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_target_gets_a_clear_end_and_harms_nobody() {
    const HEALTHY: usize = 200;
    assert_eq!(TABLE.len(), Manner::value_variants().len());
    let bus = TestBus::start().await;
    let healthy = TestTarget::accepting();
    let good =
        json!({"pattern": {"type": ["good"]}, "targets": [{"id": "t", "url": healthy.url()}]});
    bus.put_rule("healthy", &good).await;
    let mut hostile = Vec::new();
    for (manner, _) in TABLE {
        let target = Hostile::start(*manner).await.unwrap();
        let name = format!("{manner:?}");
        let rule = json!({"pattern": {"type": [name]}, "targets": [{
            "id": "t", "url": target.url(), "timeout": "1s",
            "retry": {"max_attempts": 2, "initial_delay": "10ms", "max_delay": "10ms"}}]});
        bus.put_rule(&name, &rule).await;
        hostile.push(target);
    }
    // TLS where there is none, and a name that nobody has.
    let nowhere = [
        ("tls", healthy.url().replace("http:", "https:")),
        ("dns", "http://nobody.invalid/".to_owned()),
    ];
    for (name, url) in &nowhere {
        let rule = json!({"pattern": {"type": [name]}, "targets": [{
            "id": "t", "url": url, "timeout": "2s",
            "retry": {"max_attempts": 2, "initial_delay": "10ms", "max_delay": "10ms"}}]});
        bus.put_rule(name, &rule).await;
    }
    let event = |id: String, kind: &str| json!({"specversion": "1.0", "id": id, "source": "/t", "type": kind});
    for (manner, _) in TABLE {
        bus.publish(&event(format!("{manner:?}"), &format!("{manner:?}")))
            .await;
    }
    for (name, _) in &nowhere {
        bus.publish(&event((*name).to_owned(), name)).await;
    }
    for n in 0..HEALTHY {
        bus.publish(&event(n.to_string(), "good")).await;
    }
    healthy.receives(HEALTHY).await;

    for (manner, end) in TABLE {
        let path = format!("/v1/buses/default/rules/{manner:?}/targets/t");
        let health = eventually(&format!("the end of {manner:?}"), async || {
            let health = bus.get(&path).await.json();
            (health["pending"] == 0).then_some(health)
        })
        .await;
        // A letter is listed once the view has caught up.
        let letters = eventually(&format!("the letter of {manner:?}"), async || {
            let letters = bus.get(&format!("{path}/dead-letters")).await.json();
            let letters = letters["dead_letters"].as_array().unwrap().clone();
            (health["dead_lettered"] == letters.len()).then_some(letters)
        })
        .await;
        match end {
            End::Delivered => assert_eq!(health["delivered"], 1, "{manner:?}: {letters:?}"),
            End::Dead(text) => {
                assert_eq!(letters.len(), 1, "{manner:?}: {health}");
                let error = letters[0]["last_error"].as_str().unwrap_or_default();
                assert!(error.contains(text), "{manner:?}: {error}");
                assert!(
                    error.len() <= 1_100,
                    "{manner:?}: {} bytes kept",
                    error.len()
                );
            }
        }
    }
    for (name, _) in &nowhere {
        let path = format!("/v1/buses/default/rules/{name}/targets/t/dead-letters");
        let error = eventually(name, async || {
            let letters = bus.get(&path).await.json();
            letters["dead_letters"][0]["last_error"]
                .as_str()
                .map(str::to_owned)
        })
        .await;
        assert!(error.starts_with("could not connect"), "{name}: {error}");
    }
    for (target, (manner, _)) in hostile.iter().zip(TABLE) {
        // Two attempts; what the sockets' buffers hold comes on top of what was read.
        let written = target.written();
        assert!(written < 16 << 20, "{manner:?} got rid of {written} bytes");
        assert!(target.requests() > 0, "{manner:?} was tried");
    }
    assert_eq!(healthy.received().len(), HEALTHY, "nothing came twice");
}
