//! The publishers: requests of every mode and size, new ones, repeated ones, and those that an
//! earlier crash left without an answer.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serde::Deserialize;

use super::events::{Kind, Target, data, id, structured};
use super::ledger::Group;
use super::life::Life;

/// Most events of one batch request.
const BATCH: usize = 30;

/// Rules whose putting was acknowledged: events for them may be published.
pub(crate) type LiveRules = Arc<RwLock<Vec<u32>>>;

#[derive(Deserialize)]
struct Answer {
    accepted: Vec<Accepted>,
}

#[derive(Deserialize)]
struct Accepted {
    id: String,
    source: String,
    sequence: u64,
    #[serde(default)]
    duplicate: bool,
}

/// Publishes until the bus is killed or, while it drains, no longer answers.
pub(crate) async fn publish(life: Arc<Life>, live: LiveRules, mut random: fastrand::Rng) {
    while !life.is_over() || life.is_draining() {
        let group = match random.u32(0..100) {
            0..=14 => life.ledger.open_group(&mut random),
            15..=24 => life.ledger.known_event(&mut random),
            _ => None,
        };
        let group = group.unwrap_or_else(|| {
            let events = match random.u32(0..10) {
                0..=5 => 1,
                _ => random.usize(2..=BATCH),
            };
            let kinds: Vec<Kind> = (0..events).map(|_| kind(&live, &mut random)).collect();
            life.ledger.new_group(&kinds)
        });
        if !send(&life, group, &mut random).await {
            break;
        }
    }
}

/// Sends what is still unanswered, until nothing is.
pub(crate) async fn publish_open(
    life: &Arc<Life>,
    mut random: fastrand::Rng,
) -> Result<(), String> {
    while let Some(group) = life.ledger.open_group(&mut random) {
        if !send(life, group, &mut random).await {
            return Err("the bus does not answer".to_owned());
        }
    }
    Ok(())
}

fn kind(live: &LiveRules, random: &mut fastrand::Rng) -> Kind {
    match random.u32(0..100) {
        0..=39 => Kind::Plain,
        40..=59 => Kind::Structured,
        60..=74 => Kind::Batched,
        75..=81 => Kind::Refused,
        82..=88 => Kind::Stubborn,
        _ => match random.choice(live.read().iter()) {
            Some(rule) => Kind::Late(*rule),
            None => Kind::Plain,
        },
    }
}

/// Sends one request and writes down the answer; false when the bus did not give one.
async fn send(life: &Arc<Life>, mut group: Group, random: &mut fastrand::Rng) -> bool {
    let (kinds, mark) = life.ledger.sending(&mut group);
    let response = request(life, &group, &kinds, random).send().await;
    let answer = match response {
        Ok(response) => {
            let status = response.status().as_u16();
            response.bytes().await.map(|body| (status, body))
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok((202, body)) => match answers(&group, &body) {
            Ok(answers) => {
                life.ledger.accepted(&group, &answers, mark);
                life.acknowledged(answers.len() as u64);
            }
            Err(error) => life.ledger.violation(error),
        },
        Ok((503, _)) => {
            // Full or draining; it says so and takes nothing.
            life.ledger.unanswered(group);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok((status, body)) => {
            let body = String::from_utf8_lossy(&body);
            let text = format!("publishing was answered with {status}: {body}");
            life.ledger.violation(text);
            return false;
        }
        Err(_) => {
            life.ledger.unanswered(group);
            return false;
        }
    }
    true
}

fn request(
    life: &Life,
    group: &Group,
    kinds: &[Kind],
    random: &mut fastrand::Rng,
) -> reqwest::RequestBuilder {
    let path = random.choice(["/", "/v1/buses/default/events"]);
    let url = format!("{}{}", life.base, path.unwrap_or("/"));
    let post = life.client.post(url);
    let seed = life.ledger.seed;
    let whole = |(number, kind): (&usize, &Kind)| structured(*number, *kind, &data(seed, *number));
    match (&group.numbers[..], kinds) {
        ([number], [kind]) if random.bool() => {
            let data = data(seed, *number);
            post.header("ce-specversion", "1.0")
                .header("ce-id", id(*number))
                .header("ce-source", super::events::SOURCE)
                .header("ce-type", kind.type_name())
                .header("content-type", data.content_type())
                .body(data.bytes().to_vec())
        }
        ([number], [kind]) => post
            .header("content-type", "application/cloudevents+json")
            .body(whole((number, kind))),
        (numbers, kinds) => {
            let events: Vec<String> = numbers.iter().zip(kinds).map(whole).collect();
            post.header("content-type", "application/cloudevents-batch+json")
                .body(format!("[{}]", events.join(",")))
        }
    }
}

/// (sequence, duplicate) for each event of the group, in its order.
fn answers(group: &Group, body: &[u8]) -> Result<Vec<(u64, bool)>, String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| format!("a 202 with {:?}: {error}", String::from_utf8_lossy(body)))?;
    let ids: Vec<String> = group.numbers.iter().map(|number| id(*number)).collect();
    let same =
        answer.accepted.len() == ids.len()
            && answer.accepted.iter().zip(&ids).all(|(accepted, id)| {
                accepted.id == *id && accepted.source == super::events::SOURCE
            });
    if !same {
        let body = String::from_utf8_lossy(body);
        return Err(format!("{ids:?} were answered with {body}"));
    }
    let pairs = answer.accepted.iter();
    Ok(pairs.map(|one| (one.sequence, one.duplicate)).collect())
}

/// Names of the rules that every event of the late kinds needs.
pub(crate) fn late_rule(rule: u32) -> String {
    Target::Late(rule).name()
}
