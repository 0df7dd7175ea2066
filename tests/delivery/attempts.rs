//! What one delivery goes through: as sent, tried again, given up, redriven.

use std::time::Duration;

use eventyard::delivery::dead_letter::{self, DeadLetterError, Which};
use eventyard::limits;
use eventyard::log::{DeadLetterReason, Sequence, TargetId};
use serde_json::json;
use tokio::net::TcpListener;

use crate::bus::{Bus, quick_retries, until};
use crate::target::{Reply, TestTarget, reply};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_its_target_as_it_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([]).await;
    let key = bus
        .rule("r", &target.url, json!({"headers": {"x-tenant": "acme"}}))
        .await;
    bus.publish("r", 0..1).await;
    bus.publish("other", 1..2).await;
    bus.until_settled(key).await;
    let requests = target.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.header("ce-id"), "0");
    assert_eq!(request.header("ce-type"), "t.r");
    assert_eq!(request.header("x-tenant"), "acme");
    assert_eq!(request.header("content-type"), "application/json");
    assert!(request.header("user-agent").starts_with("Eventyard/"));
    assert!(
        request
            .header("webhook-id")
            .starts_with(&format!("{}-", key.0))
    );
    assert!(!request.header("webhook-id").contains('.'));
    assert!(request.header("webhook-timestamp").parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(&request.body[..], b"{\"n\":0}");
    assert_eq!(bus.status(key).delivered, 1);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_delivery_is_tried_again_with_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([503, 404, 500]).await;
    let key = bus.rule("r", &target.url, quick_retries()).await;
    bus.publish("r", 0..1).await;
    until("it was delivered", || bus.status(key).delivered == 1).await;
    bus.until_settled(key).await;
    let requests = target.requests();
    assert_eq!(requests.len(), 4);
    let id = requests[0].header("webhook-id");
    assert!(requests.iter().all(|r| r.header("webhook-id") == id));
    let waits = requests
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect::<Vec<_>>();
    for (wait, least) in waits.iter().zip([20, 40, 80]) {
        assert!(*wait >= Duration::from_millis(least - 1), "{waits:?}");
    }
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::start(|n, _| Reply {
        retry_after: Some("1"),
        ..reply(if n == 0 { 429 } else { 200 })
    })
    .await;
    let key = bus.rule("r", &target.url, quick_retries()).await;
    bus.publish("r", 0..1).await;
    until("it was delivered", || bus.status(key).delivered == 1).await;
    let requests = target.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(990));
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_becomes_a_dead_letter_that_can_be_redriven() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::start(|_, request| match request.header("ce-id") {
        "0" => Reply {
            body: "no such order".to_owned(),
            ..reply(422)
        },
        "1" => reply(302),
        "2" => reply(500),
        _ => reply(410),
    })
    .await;
    let mut settings = quick_retries();
    settings["retry"]["max_attempts"] = json!(2);
    let key = bus.rule("r", &target.url, settings).await;
    bus.publish("r", 0..3).await;
    bus.until_dead(3).await;
    bus.publish("r", 3..4).await;
    let letters = bus.until_dead(4).await;
    let told: Vec<_> = letters
        .iter()
        .map(|l| (l.reason, l.last_status, l.attempts))
        .collect();
    assert_eq!(
        told,
        [
            (DeadLetterReason::Refused, Some(422), 1),
            (DeadLetterReason::Refused, Some(302), 1),
            (DeadLetterReason::AttemptsExhausted, Some(500), 2),
            (DeadLetterReason::Gone, Some(410), 1),
        ]
    );
    assert_eq!(letters[0].last_error.as_deref(), Some("no such order"));
    bus.until_settled(key).await;

    assert_eq!(bus.status(key).state, "disabled");
    bus.delivery.resume(key).await.unwrap();
    *target.shared.script.lock() = Box::new(|_, _| reply(200));
    let before = target.count();
    let id = (key, letters[1].sequence);
    dead_letter::delete(&bus.delivery, id.0, id.1)
        .await
        .unwrap();
    let again = dead_letter::delete(&bus.delivery, id.0, id.1).await;
    assert!(matches!(again, Err(DeadLetterError::NotFound)));
    let ids = [(key, letters[0].sequence), (key, letters[0].sequence), id];
    let redriven = dead_letter::redrive(&bus.delivery, Which::Ids(&ids)).await;
    assert_eq!(redriven.unwrap(), 1);
    let redriven = dead_letter::redrive(&bus.delivery, Which::Targets(&[key])).await;
    assert_eq!(redriven.unwrap(), 2);
    until("they were delivered", || bus.status(key).delivered == 3).await;
    bus.until_settled(key).await;
    assert_eq!(target.count(), before + 3);
    assert!(bus.log.dead_letters(None, None, 10).unwrap().is_empty());
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_ends_with_the_timeout() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            .await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let settings = json!({"timeout": "300ms", "retry": {"max_attempts": 1}});
    bus.rule("r", &url, settings).await;
    bus.publish("r", 0..1).await;
    let letters = bus.until_dead(1).await;
    let error = letters[0].last_error.clone().unwrap();
    assert!(error.contains("did not end within 300ms"), "{error}");
    server.abort();
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_answer_is_cut_off_and_the_start_of_an_error_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::start(|n, _| Reply {
        body: "x".repeat(10 * 1024 * 1024),
        ..reply(if n == 0 { 200 } else { 400 })
    })
    .await;
    let key = bus.rule("r", &target.url, json!({})).await;
    bus.publish("r", 0..1).await;
    until("it was delivered", || bus.status(key).delivered == 1).await;
    bus.publish("r", 1..2).await;
    let letters = bus.until_dead(1).await;
    assert_eq!(
        letters[0].last_error.as_ref().unwrap().len(),
        limits::RESPONSE_KEPT_BYTES
    );
    bus.stop().await;
}

/// A bus with one dead letter, whose target takes everything by now.
async fn with_a_letter(dir: &std::path::Path) -> (Bus, TestTarget, (TargetId, Sequence)) {
    let bus = Bus::start(dir).await;
    let target = TestTarget::replying([400]).await;
    let key = bus.rule("r", &target.url, quick_retries()).await;
    bus.publish("r", 0..1).await;
    let letter = bus.until_dead(1).await.remove(0);
    bus.until_settled(key).await;
    (bus, target, (key, letter.sequence))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_is_done_although_its_caller_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, target, letter) = with_a_letter(dir.path()).await;
    let ids = [letter];
    let redrive = dead_letter::redrive(&bus.delivery, Which::Ids(&ids));
    // Asked once, and so begun; then its caller goes away.
    tokio::select! {
        biased;
        _ = redrive => {}
        () = std::future::ready(()) => {}
    }
    until("it was delivered", || target.count() == 2).await;
    bus.until_settled(letter.0).await;
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_redrives_at_once_one_has_a_letter() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, target, letter) = with_a_letter(dir.path()).await;
    let ids = [letter];
    let redrive = || dead_letter::redrive(&bus.delivery, Which::Ids(&ids));
    let (one, other, third) = tokio::join!(redrive(), redrive(), redrive());
    assert_eq!(one.unwrap() + other.unwrap() + third.unwrap(), 1);
    until("it was delivered", || target.count() == 2).await;
    bus.until_settled(letter.0).await;
    assert_eq!((target.count(), bus.status(letter.0).parked), (2, 0));
    bus.stop().await;
}
