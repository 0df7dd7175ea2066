//! An event as its target's transform makes it: the same event, with other data.

use std::sync::Arc;

use crate::log::LoggedEvent;
use crate::query::Subject;
use crate::rule::Target;
use crate::transform::Variables;

/// The event that is sent; the reason when it cannot be made, now or later.
pub(crate) fn transformed(
    target: &Target,
    logged: Arc<LoggedEvent>,
) -> Result<Arc<LoggedEvent>, String> {
    let Some(transform) = &target.transform else {
        return Ok(logged);
    };
    let rule_arn = match target.bus.as_str() {
        "default" => format!("arn:eventyard:events:::rule/{}", target.rule),
        bus => format!("arn:eventyard:events:::rule/{bus}/{}", target.rule),
    };
    let variables = Variables {
        bus: target.bus.as_str(),
        rule: target.rule.as_str(),
        target: target.id.as_str(),
        rule_arn: &rule_arn,
        ingestion_time: &logged.time.to_string(),
        sequence: logged.sequence,
    };
    let payload = transform
        .apply(&Subject::event(&logged.event), &variables)
        .map_err(|error| format!("the transform failed: {error}"))?;
    let event = logged
        .event
        .with_data(payload.is_json, &payload.bytes)
        .map_err(|error| format!("the transform failed: {error}"))?;
    Ok(Arc::new(LoggedEvent {
        event,
        bus: logged.bus.clone(),
        ..*logged
    }))
}
