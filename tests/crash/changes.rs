//! Changes under fire: rules are put, replaced and deleted, dead letters are purged and redriven,
//! while events pour in; and after each start the acknowledged ones must be there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::bus::rule;
use super::events::Target;
use super::ledger::Removal;
use super::life::Life;
use super::load::{LiveRules, late_rule};

/// Most rules that are added in all.
const LATE_RULES: u32 = 12;
/// Dead letters that are looked at for one change.
const LETTERS: usize = 20;

const RULES: &str = "/v1/buses/default/rules";
const DEAD_LETTERS: &str = "/v1/buses/default/dead-letters";

/// What the test knows of the rules it changes.
pub(crate) struct Changes {
    receiver: SocketAddr,
    /// Rules whose putting was acknowledged.
    pub(crate) live: LiveRules,
    switch: Mutex<Switch>,
}

/// One rule that is put and deleted all the time. Operation 0 is its absence at the beginning.
#[derive(Default)]
struct Switch {
    acknowledged: u32,
    sent: u32,
}

/// What operation `number` leaves: every third one deletes.
fn switched(number: u32) -> Option<String> {
    (!number.is_multiple_of(3)).then(|| format!("v{number}"))
}

/// A dead letter as the list shows it.
#[derive(Debug, Deserialize)]
struct Letter {
    id: String,
    sequence: u64,
    target: String,
}

#[derive(Deserialize)]
struct Letters {
    dead_letters: Vec<Letter>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ShownEvent<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<&'a str>,
}

impl Changes {
    pub(crate) fn new(receiver: SocketAddr) -> Self {
        Self {
            receiver,
            live: LiveRules::default(),
            switch: Mutex::default(),
        }
    }

    /// Changes one thing after another until the life is over.
    pub(crate) async fn run(&self, life: Arc<Life>, mut random: fastrand::Rng) {
        while !life.is_over() {
            let done = match random.u32(0..4) {
                0 => self.put_late_rule(&life, &mut random).await,
                1 => self.operate_switch(&life).await,
                2 => remove_letters(&life, Target::Refusing).await,
                _ => remove_letters(&life, Target::Stubborn).await,
            };
            if done.is_none() && !life.is_over() {
                // The life ends otherwise than planned; who waits for it says so.
                return;
            }
            life.pass(random.u64(1..30)).await;
        }
    }

    /// Puts a new rule, or an old one again with other words.
    async fn put_late_rule(&self, life: &Life, random: &mut fastrand::Rng) -> Option<()> {
        let known = self.live.read().clone();
        let count = u32::try_from(known.len()).expect("there are few");
        let number = if count < LATE_RULES && (count == 0 || random.bool()) {
            count
        } else {
            random.u32(..count)
        };
        let name = late_rule(number);
        let pattern = format!(
            r#"{{"type": ["crash.late.{number}", "x{}"]}}"#,
            random.u32(..)
        );
        let document = rule(self.receiver, &name, &pattern, "binary");
        let path = format!("{RULES}/{name}");
        let (status, body) = life.call(Method::PUT, &path, Some(document)).await?;
        if !self.accepted(life, "putting a rule", status, &body) {
            return Some(());
        }
        life.ledger.change_acknowledged();
        if !known.contains(&number) {
            self.live.write().push(number);
        }
        Some(())
    }

    async fn operate_switch(&self, life: &Life) -> Option<()> {
        let number = {
            let mut switch = self.switch.lock();
            switch.sent += 1;
            switch.sent
        };
        let path = format!("{RULES}/switch");
        let (status, body) = match switched(number) {
            Some(version) => {
                let pattern = format!(r#"{{"type": ["crash.{version}"]}}"#);
                let document = rule(self.receiver, "late-0", &pattern, "binary");
                life.call(Method::PUT, &path, Some(document)).await?
            }
            None => life.call(Method::DELETE, &path, None).await?,
        };
        let mut switch = self.switch.lock();
        let maybe_absent = (switch.acknowledged..number).any(|earlier| switched(earlier).is_none());
        // Nothing to delete, when the putting before it was never answered.
        let was_absent = switched(number).is_none() && status == 404 && maybe_absent;
        if was_absent || self.accepted(life, "the switched rule", status, &body) {
            life.ledger.change_acknowledged();
            switch.acknowledged = number;
        }
        Some(())
    }

    fn accepted(&self, life: &Life, what: &str, status: u16, body: &Value) -> bool {
        match status {
            200 | 201 | 204 => true,
            503 => false,
            _ => {
                life.ledger
                    .violation(format!("{what} was answered with {status}: {body}"));
                false
            }
        }
    }

    /// After a start: every acknowledged change is there.
    pub(crate) async fn check(&self, life: &Life) -> Result<(), String> {
        let live = self.live.read().clone();
        for number in live {
            let path = format!("{RULES}/{}", late_rule(number));
            match life.call(Method::GET, &path, None).await {
                Some((200, body)) => {
                    let url = format!("http://{}/{}", self.receiver, late_rule(number));
                    if !body.to_string().contains(&url) {
                        return Err(format!("{path} is not what was put: {body}"));
                    }
                }
                other => return Err(format!("{path} was acknowledged, now: {other:?}")),
            }
        }
        let Some((status, body)) = life
            .call(Method::GET, &format!("{RULES}/switch"), None)
            .await
        else {
            return Err("the bus does not show the switched rule".to_owned());
        };
        let shown = match status {
            200 => body.pointer("/pattern/type/0").and_then(Value::as_str),
            404 => None,
            other => return Err(format!("the switched rule is shown as {other}: {body}")),
        };
        let shown = shown.map(|kind| kind.trim_start_matches("crash.").to_owned());
        let mut switch = self.switch.lock();
        let known = (switch.acknowledged..=switch.sent).rev();
        match known.into_iter().find(|number| switched(*number) == shown) {
            Some(number) => {
                switch.acknowledged = number;
                Ok(())
            }
            None => Err(format!(
                "the switched rule is {shown:?}; operation {} of {} was acknowledged last",
                switch.acknowledged, switch.sent
            )),
        }
    }
}

/// Purges a few of the refusing target's dead letters, or redrives the stubborn one's.
async fn remove_letters(life: &Life, target: Target) -> Option<()> {
    let name = target.name();
    let place = format!("{RULES}/{name}/targets/{name}/dead-letters");
    let letters = list(life, &place, LETTERS, None).await?;
    let letters = match letters {
        Ok(letters) => letters.dead_letters,
        Err(error) => {
            // While a lost view is built again, listing may have to wait.
            if !error.starts_with("503") {
                life.ledger.violation(error);
            }
            return Some(());
        }
    };
    // Only of events whose acknowledgement came: the others have no number here.
    let known: Vec<(&Letter, usize)> = letters
        .iter()
        .filter_map(|letter| Some((letter, life.ledger.number_of(letter.sequence)?)))
        .collect();
    let Some((letter, number)) = known.first() else {
        return Some(());
    };
    check_letter(life, &format!("{place}/{}", letter.id), *number).await?;
    let ids: Vec<&str> = known.iter().map(|(letter, _)| letter.id.as_str()).collect();
    let numbers: Vec<usize> = known.iter().map(|(_, number)| *number).collect();
    let (verb, count) = match target {
        Target::Refusing => {
            life.ledger.purge(&numbers, Removal::Asked);
            ("purge", "purged")
        }
        _ => {
            life.ledger.redrive(&numbers, Removal::Asked);
            ("redrive", "redriven")
        }
    };
    let path = format!("{place}/{verb}");
    let body = json!({ "ids": ids }).to_string();
    let (status, body) = life.call(Method::POST, &path, Some(body)).await?;
    match (status, body[count].as_u64()) {
        (503, _) => {}
        (200, Some(done)) if done == numbers.len() as u64 => {
            life.ledger.change_acknowledged();
            match target {
                Target::Refusing => life.ledger.purge(&numbers, Removal::Acknowledged),
                _ => life.ledger.redrive(&numbers, Removal::Acknowledged),
            }
        }
        _ => life.ledger.violation(format!(
            "the {verb} of {} listed dead letters was answered with {status}: {body}",
            numbers.len()
        )),
    }
    Some(())
}

/// A dead letter still has its event, whole.
async fn check_letter(life: &Life, path: &str, number: usize) -> Option<()> {
    let answer = life.client.get(format!("{}{path}", life.base)).send();
    let answer = answer.await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.ok()?;
    if status == 503 {
        return Some(());
    }
    let text = String::from_utf8_lossy(&body);
    let data = event_data(&body);
    if status != 200 || !data.is_some_and(|data| life.ledger.is_whole(number, &data)) {
        let id = super::events::id(number);
        let text = text.chars().take(300).collect::<String>();
        life.ledger
            .violation(format!("{path} ({id}) is shown as {status}: {text}"));
    }
    Some(())
}

fn event_data(body: &[u8]) -> Option<Vec<u8>> {
    let shown: Shown<'_> = serde_json::from_slice(body).ok()?;
    let event: ShownEvent<'_> = serde_json::from_str(shown.event?.get()).ok()?;
    match (event.data, event.data_base64) {
        (Some(json), _) => Some(json.get().as_bytes().to_vec()),
        (None, Some(base64)) => BASE64_STANDARD.decode(base64).ok(),
        (None, None) => Some(Vec::new()),
    }
}

/// One page of dead letters; the error begins with the status.
async fn list(
    life: &Life,
    place: &str,
    limit: usize,
    after: Option<&str>,
) -> Option<Result<Letters, String>> {
    let after = after.map(|after| format!("&after={after}"));
    let path = format!("{place}?limit={limit}{}", after.unwrap_or_default());
    let (status, body) = life.call(Method::GET, &path, None).await?;
    if status != 200 {
        return Some(Err(format!("{status} for {path}: {body}")));
    }
    let text = body.to_string();
    Some(serde_json::from_value(body).map_err(|error| format!("{path}: {error}: {text}")))
}

/// All dead letters of the bus, as (target, sequence).
pub(crate) async fn all_letters(life: &Life) -> Result<BTreeSet<(Target, u64)>, String> {
    let mut all = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = list(life, DEAD_LETTERS, 500, after.as_deref()).await;
        let page = page.ok_or("the bus does not list its dead letters")??;
        for letter in &page.dead_letters {
            let target = Target::parse(&letter.target)
                .ok_or(format!("a dead letter of no target: {letter:?}"))?;
            if !all.insert((target, letter.sequence)) {
                return Err(format!("{letter:?} is listed twice"));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

/// Every listed dead letter still has its event, whole.
pub(crate) async fn check_letters(life: &Life) -> Result<(), String> {
    let letters = list(life, DEAD_LETTERS, 300, None).await;
    let letters = letters.ok_or("the bus does not list its dead letters")??;
    for letter in &letters.dead_letters {
        if let Some(number) = life.ledger.number_of(letter.sequence) {
            let path = format!("{DEAD_LETTERS}/{}", letter.id);
            check_letter(life, &path, number)
                .await
                .ok_or(format!("the bus does not show {path}"))?;
        }
    }
    Ok(())
}
