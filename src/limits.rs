//! Every bound of the bus, each with its reason. A queue, body, batch or document that is not
//! bounded here is a bug.

use std::time::Duration;

/// Largest request body, in bytes: room for a batch of a thousand 4 KiB events; the peers stop at
/// 64 KiB to 1 MiB for one event.
pub const BODY_BYTES: usize = 8 * 1024 * 1024;

/// Largest single event, in bytes of its stored form. AWS EventBridge and Svix stop at 1 MiB too;
/// CloudEvents asks every intermediary to forward 64 KiB at least (spec, "Size Limits").
pub const EVENT_BYTES: usize = 1024 * 1024;

/// Most events in one batch request: a batch is one atomic group in the journal.
pub const BATCH_EVENTS: usize = 1_000;

/// All attributes of one event together, in bytes: headers of a binary-mode delivery must fit what
/// receivers accept (commonly 8 to 64 KiB).
pub const ATTRIBUTES_BYTES: usize = 64 * 1024;

/// Most extension attributes of one event.
pub const EXTENSIONS: usize = 128;

/// Longest attribute name, in bytes. The spec says SHOULD NOT exceed 20; senders do.
pub const ATTRIBUTE_NAME_BYTES: usize = 128;

/// Deepest nesting of a JSON document: recursive readers downstream, ours among them, must not
/// overflow their stack. serde_json stops at 128 as well.
pub const JSON_DEPTH: usize = 128;

/// All header bytes of one request: hyper's own read buffer is the hard stop.
pub const REQUEST_HEADER_BYTES: usize = 128 * 1024;

/// Connections open at once: each costs about 20 KiB and a file descriptor.
pub const CONNECTIONS: usize = 10_000;

/// Time for the whole head of a request to arrive; slower is taken for a slow-loris attack.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence inside a request body before it is given up.
pub const REQUEST_BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest event pattern, in bytes. AWS allows 4,096; generous, still cheap to compile.
pub const PATTERN_BYTES: usize = 64 * 1024;

/// Longest bus, rule or target name, in bytes: names are file names and URL segments.
pub const NAME_BYTES: usize = 64;

/// Most targets of one rule. AWS stops at 5 and its users complain.
pub const TARGETS_PER_RULE: usize = 100;

/// Largest rule or bus document, in bytes.
pub const RULE_BYTES: usize = 256 * 1024;

/// Most cases of one tests file of a rule.
pub const RULE_CASES: usize = 10_000;

/// Cells of the table by which two documents are compared line by line (2 bytes each); beyond it
/// all lines between the first and the last changed one are shown as changed.
pub const DIFF_CELLS: usize = 4_000_000;

/// Most rules on all buses: issue B raises what the matcher bears.
pub const RULES: usize = 1_000_000;

/// Bytes of journal groups waiting for the writer; beyond it publishing answers 503.
pub const JOURNAL_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Groups of one write from which on the writer takes it that more are coming.
pub const JOURNAL_COMPANY: usize = 4;

/// How long the writer then waits for them: longer than a flush of a good disk saves nothing more,
/// and publishers wait for it.
pub const JOURNAL_COMPANY_WAIT: Duration = Duration::from_micros(500);

/// Largest write between two flushes: bounds the latency that one large batch adds to others.
pub const JOURNAL_WRITE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of the next journal segment that are made ready in one step, and flushed: what the writer's
/// own flush may find before it.
pub const JOURNAL_PREPARE_BYTES: u64 = 4 * 1024 * 1024;

/// Rest between two such steps, while there is time: a segment is ready in a third of a second.
pub const JOURNAL_PREPARE_REST: Duration = Duration::from_millis(20);

/// Default size of a journal segment: big enough that recycling is rare, small enough that disk is
/// given back soon and a segment is zeroed in well under a second.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of recent events kept in memory, so that routing and first attempts read no disk: some
/// seconds of a busy bus, whose late deliveries leave memory after one.
pub const TAIL_BYTES: usize = 16 * 1024 * 1024;

/// Deliveries waiting in memory for one target; more are parked on disk in bulk.
pub const LANE_READY: usize = 4_096;

/// Deliveries of one bulk-parked chunk: one small frame and one small record on disk.
pub const BACKLOG_CHUNK: usize = 512;

/// How long a delivery may be in flight before it is parked, so that one slow target never holds
/// the router's checkpoint back.
pub const LATE_AFTER: Duration = Duration::from_secs(1);

/// How much later one is parked whose attempt cannot last beyond [`LATE_AFTER`]: its end is near, and
/// what came of it is the one record that is needed. Of many targets that time out together each would
/// else be written down twice in the same moment.
pub const LATE_GRACE: Duration = Duration::from_millis(250);

/// Bytes of a target's response that are read; the rest is left unread and the connection closed.
pub const RESPONSE_BYTES: usize = 64 * 1024;

/// What the system takes of a target's answer before it is read; it doubles this for its own account.
/// By itself it would take megabytes of an answer without end, for each connection, and throw them
/// away with it.
pub const RECEIVE_BUFFER_BYTES: usize = RESPONSE_BYTES;

/// Bytes of a target's response that are kept with a dead letter.
pub const RESPONSE_KEPT_BYTES: usize = 1_024;

/// Longest wait that a target may ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Most items of one page of a list.
pub const PAGE_ITEMS: usize = 1_000;

/// Items of a page when the caller names no limit.
pub const PAGE_ITEMS_DEFAULT: usize = 100;

/// Most sub-rules of one event pattern once its `$or`s are multiplied out; AWS stops here too.
pub const PATTERN_SUB_RULES: usize = 1_000;

/// Most faults of one event pattern that are told apart: enough for who mends it by hand, and an answer
/// that stays small.
pub const PATTERN_FAULTS: usize = 20;

/// Most fields of one sub-rule of an event pattern: event-ruler stops here too, and the check that
/// matched values share an array element keeps one bit a field.
pub const PATTERN_FIELDS: usize = 256;

/// Most beginnings of one field's wildcards that a single value may match at once. AWS accepts 7
/// and refuses 11; event-ruler's guide recommends 10.
pub const WILDCARD_COMPLEXITY: usize = 10;

/// Steps spent on finding a field's wildcard complexity before it counts as too complex: some tens
/// of milliseconds.
pub const WILDCARD_COMPLEXITY_STEPS: usize = 200_000;

/// Ways of choosing array elements that are followed at once for one pattern and one document:
/// ordinary documents need one; only duplicate keys, or absence judged beside values in nested
/// arrays, need more.
pub const ELEMENT_CHOICES: usize = 64;

/// Most values of one field that an explanation shows: a field may stand in ten thousand elements.
pub const EXPLAINED_VALUES: usize = 100;

/// Smallest segment of the journal: room for a few groups even where a test wants many segments.
/// (The journal's own power-cut tests go lower, so that thousands of them stay fast.)
pub const SEGMENT_BYTES_MIN: u64 = if cfg!(test) { 16 * 1024 } else { 256 * 1024 };

/// Largest segment of the journal: offsets in it are 32 bits wide.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Trimmed segments that are kept to be written again: overwriting allocated blocks spares the
/// zeroing and the file system's own journal; more would only hold disk back.
pub const JOURNAL_POOL_SEGMENTS: usize = 2;

/// How often a journal that found the disk full tries again to prepare a segment.
pub const JOURNAL_FULL_RETRY: Duration = Duration::from_millis(500);

/// Bytes that a journal reader asks for at once: fewer calls than frames, little memory a reader.
pub const JOURNAL_READ_BYTES: usize = 256 * 1024;

/// Ranges of sequences remembered as lost to a full disk, the oldest forgotten first: one for each
/// time the disk was full, 64 KiB in all.
pub const JOURNAL_LOST_RANGES: usize = 4_096;

/// Segment files held open for reads at a position: file descriptors are few.
pub const JOURNAL_OPEN_SEGMENTS: usize = 32;

/// Failures in a row after which a target's breaker opens: few enough to spare a dead target, many
/// enough that a hiccup under load does not stop it.
pub const BREAKER_FAILURES: u32 = 10;

/// How long a breaker stays open the first time; it doubles from there.
pub const BREAKER_OPEN_FIRST: Duration = Duration::from_secs(1);

/// Longest time between two probes of a dead target: how late its recovery may be noticed.
pub const BREAKER_OPEN_MAX: Duration = Duration::from_secs(60);

/// Longest time that a delivery which found its lane full waits in memory for a chunk to fill.
pub const SPILL_AFTER: Duration = Duration::from_millis(100);

/// Due retries of one target that are read into memory at once.
pub const RETRIES_READ: usize = 256;

/// Records of one bulk step (dead letters of a removed target, redrive, purge): bounds the journal
/// group and the pause that it means for others.
pub const BULK_RECORDS: usize = 256;

/// Records of one lane that the views may lag behind before the lane stops reading from them.
pub const UNSEEN_RECORDS: usize = 4_096;

/// Routed events, in number, that may wait for their oldest unsettled one; 16 bytes each. Reached
/// only while the journal takes no records, since late deliveries are parked otherwise.
pub const ROUTED_UNSETTLED: usize = 1024 * 1024;

/// Events that the router reads at once.
pub const ROUTER_READ: usize = 256;

/// How often the router's progress is written down: what a crash makes it route again.
pub const CHECKPOINT_EVERY: Duration = Duration::from_millis(200);

/// Time for a connection to a target, name resolution and TLS included; a target's timeout may be
/// shorter.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Names that are resolved at once: each has a thread, with some hundred KiB of memory, for as long as
/// its name server is silent.
pub const NAME_LOOKUPS: usize = 256;

/// Those of them for names that are not known to be quick: a quarter stays for names that are,
/// however many targets have names that nobody answers for.
pub const NAME_LOOKUPS_NOT_QUICK: usize = 192;

/// Those of them for names whose last look-up was slow: a new name finds room beside them.
pub const NAME_LOOKUPS_SLOW: usize = 32;

/// A look-up that takes longer is slow: a name server that is well answers within some tens of
/// milliseconds, and the first packet that is lost costs five seconds. Where the name's last answer
/// is known, it is used after this wait.
pub const NAME_LOOKUP_QUICK: Duration = Duration::from_millis(500);

/// How long the last answer for a name may be used while its name server is silent: longer than most
/// outages, and short beside the days for which an address is given away anew.
pub const NAME_ANSWER_KEPT: Duration = Duration::from_secs(60 * 60);

/// Names of which is known how they were resolved; some 200 bytes each. Beyond it the half that was
/// used longest ago is new again.
pub const NAMES_KNOWN: usize = 16 * 1024;

/// Attempts under way to all targets together: some 25 KiB each, a hundred MiB in all.
pub const ATTEMPTS: usize = 4_096;

/// Attempts that a target may have under way even while there is no room for all: with one answer in
/// ten milliseconds, four hundred a second.
pub const ATTEMPTS_ALWAYS: usize = 4;

/// Interim answers (1xx) to one request. Hints come once or twice, and a server that says every few
/// seconds that it is still at it gets to a handful within a timeout.
pub const INTERIM_ANSWERS: usize = 32;

/// Bytes of one request's interim answers.
pub const INTERIM_BYTES: usize = 64 * 1024;

/// Frames of HTTP/2 without data that a target may send on a connection beyond those that what it
/// was sent explains: settings, windows, pings of a connection that stays idle for hours.
pub const HTTP2_FRAMES: u64 = 1_000;

/// Idle connections kept to one target: as many as it may have used at once. Events come in waves,
/// and between two a target with fewer would lose connections that the next wave opens again.
pub const IDLE_CONNECTIONS_PER_TARGET: usize = TARGET_CONCURRENCY;

/// How long an idle connection to a target is kept: below the 60 seconds after which common
/// servers and load balancers close it themselves, which races with the next delivery.
pub const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(45);

/// Most headers that a rule adds to a target's requests, and their bytes together: receivers
/// commonly take 8 to 16 KiB of headers, and the event's attributes need room too.
pub const TARGET_HEADERS: usize = 50;

/// Most query parameters that a rule adds to a target's URL, which bounds their bytes.
pub const TARGET_PARAMETERS: usize = 50;

/// Longest target URL, in bytes: what common servers take in a request line is 8 KiB.
pub const URL_BYTES: usize = 4 * 1024;

/// Most attempts at once that one target may ask for: each is a connection and a body in memory.
pub const TARGET_CONCURRENCY: usize = 1_024;

/// Most of a rate's second, minute or hour, of requests or redriven dead letters: more than one
/// machine sends to one target.
pub const RATE_LIMIT: u32 = 1_000_000;

/// One part in so many of a target's attempts at once is kept for first attempts beside retries, and
/// one for retries beside first attempts: enough that neither stands still, and little enough that
/// the other has most of it.
pub const ROOM_SHARE: usize = 4;

/// How far a rate-limited target's requests may run ahead of an even spread: a pause of the machine
/// this long is made up for, and in any second at most a tenth more than the rate goes out.
pub const RATE_AHEAD: Duration = Duration::from_millis(100);

/// Wait before a target that did not agree to be sent events is asked again, at first; it doubles.
pub const CONSENT_WAIT: Duration = Duration::from_secs(1);

/// Longest such wait: how late it may be noticed that a receiver agrees by now.
pub const CONSENT_WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// Most attempts of one delivery that a retry policy may ask for.
pub const RETRY_ATTEMPTS: u32 = 1_000;

/// Longest that a delivery may stay pending: its event is kept on disk for as long.
pub const RETRY_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Longest JSONPath query, in bytes: it is parsed by a recursive reader.
pub const QUERY_BYTES: usize = 1_024;

/// Most descendant segments (`..`) of a query: each multiplies the nodes it visits by the depth.
pub const QUERY_DESCENTS: usize = 2;

/// Work a query may do on one event, in units of about one visited node or copied path byte;
/// an evaluation cannot be stopped, so one that could cost more is not begun.
pub const QUERY_WORK: u64 = 16_000_000;

/// Rule sets that are kept for events not routed yet; a router further behind meets the oldest kept.
pub const RULE_SETS_KEPT: usize = 64;

/// Most rule files of one folder, read into memory before any is applied.
pub const RULE_FILES: usize = 100_000;

/// How long the rules folder must rest after a change before it is read: an editor's save or a
/// checkout is many changes.
pub const RELOAD_REST: Duration = Duration::from_millis(200);

/// Longest deduplication window of a bus: the ids of its events are remembered for as long.
pub const DEDUP_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Slowest body that is waited for, in bytes a second, after the first silence is used up: a body
/// that drips in single bytes would else hold its connection for hours.
pub const REQUEST_BODY_RATE: u64 = 4 * 1024;

/// How often an HTTP/2 connection is asked whether its peer still lives; it is closed when no
/// answer comes within `REQUEST_HEAD_TIMEOUT`.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// Requests at once on one HTTP/2 connection: hyper's own default, named since bodies are bounded
/// by it times `BODY_BYTES`.
pub const HTTP2_STREAMS: u32 = 200;

/// What a caller is told to wait when the bus cannot take events just now, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// Default memory for the keyed view's page cache, in bytes: indexes of some million events.
pub const VIEW_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Default time for requests and attempts in flight to finish on shutdown: Kubernetes kills after
/// 30 seconds.
pub const GRACE: Duration = Duration::from_secs(20);

/// Targets that `/metrics` names one by one, the oldest ones; the rest are taken together under
/// `_other`, so that a scrape stays small with a million rules.
pub const METRIC_TARGETS: usize = 500;

/// Buses that `/metrics` names one by one: all, or of more those that were used first; the rest are
/// summed under `_other`.
pub const METRIC_BUSES: usize = 100;

/// How long a dead letter is kept when its target does not say; also those of deleted targets.
pub const DEAD_LETTER_RETENTION: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Longest that a target may ask for its dead letters to be kept: their events are kept as long.
pub const DEAD_LETTER_RETENTION_MAX: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// Dead letters looked at a second for whether they have expired: a million take four minutes.
pub const DEAD_LETTER_SWEEP: usize = 4_096;

/// Targets whose dead letters are pushed at the same time.
pub const DEAD_LETTER_PUSHES: usize = 16;

/// How far ahead an event's `deliverat` may lie: its event is kept on disk for as long.
pub const DELIVER_AT_HORIZON: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Longest period of a rule's rate.
pub const RATE_PERIOD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A scheduled moment that is met later than this was missed: the bus was down.
pub const SCHEDULE_LATE: Duration = Duration::from_secs(60);

/// Waiting events looked at for one page of a bus's list: they stand in one row with other buses'.
pub const SCHEDULED_PER_PAGE: usize = 20_000;

/// Replies in a row, each caused by the one before; two targets that answer each other end there.
/// Each may go to several targets, so that more would be very many.
pub const REPLY_HOPS: i32 = 16;

/// Largest reply of a target, in bytes: the largest event, its data in base64, and its attributes.
pub const REPLY_BYTES: usize = 2 * EVENT_BYTES;

/// Dead letters that one redrive or purge request may name.
pub const DEAD_LETTER_IDS: usize = 10_000;

/// Bytes of all request bodies held at once, arriving or waiting for their answer; beyond it large
/// ones are answered 503. Without it, `CONNECTIONS` times `BODY_BYTES` would be 80 GB.
pub const BODIES_BYTES: usize = 256 * 1024 * 1024;

/// What a caller is told to wait when the disk is full or the journal failed, in seconds: somebody
/// has to act first.
pub const RETRY_AFTER_FULL_SECONDS: u32 = 10;

/// Bytes of the headers that a rule adds to one target's deliveries: receivers take 8 KiB in all.
pub const TARGET_HEADER_BYTES: usize = 4 * 1024;

/// Largest value of a secret, in bytes: a client certificate with its chain and key fits.
pub const SECRET_BYTES: usize = 64 * 1024;

/// Most secrets: they are held in memory, and their file is written whole with each change.
pub const SECRETS: usize = 10_000;

/// Most secrets that sign one target's deliveries: one of each kind, and one more of each while a
/// receiver moves to another name.
pub const SIGNING_SECRETS: usize = 4;

/// Values of one secret that hold at once: each makes a signature of every delivery longer by some
/// 50 bytes.
pub const SECRET_VERSIONS: usize = 10;

/// Groups that a summary of dead letters tells apart; the rest is one number. A bus with so many
/// failing targets needs a filter anyway.
pub const DEAD_LETTER_GROUPS: usize = 1_000;

/// Dead letters looked at for one page of a filtered list: a search for what is not there must end.
pub const DEAD_LETTERS_PER_PAGE: usize = 50_000;

/// Redrives in the background at once.
pub const REDRIVE_JOBS: usize = 16;

/// Redrives that are remembered, ended ones included.
pub const REDRIVE_JOBS_KEPT: usize = 100;

/// Largest request about dead letters, in bytes: `DEAD_LETTER_IDS` of them fit.
pub const DEAD_LETTER_REQUEST_BYTES: usize = 512 * 1024;

/// Longest template or constant of a transform, in bytes: EventBridge stops at 8 KiB.
pub const TRANSFORM_TEMPLATE_BYTES: usize = 32 * 1024;

/// Most named paths of a template: EventBridge stops here too.
pub const TRANSFORM_PATHS: usize = 100;

/// Largest result of a transform, in bytes: room for the largest event written out whole.
pub const TRANSFORM_RESULT_BYTES: usize = 2 * EVENT_BYTES;

/// Longest user name, client id, scope or audience of a target's `auth`, in bytes: they travel in
/// headers, of which receivers take 8 KiB in all.
pub const AUTH_TEXT_BYTES: usize = 1024;

/// Tokens of token servers that are kept: one for each client and scope of the rules' targets. Of
/// more than this, those that were used longest ago are forgotten, and fetched again.
pub const TOKENS: usize = 10_000;

/// Time for a token server to answer: deliveries of its targets wait meanwhile, and no others.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer of a token server, in bytes: a token has to fit into a header of 8 KiB, and a few
/// more of another kind may stand beside it.
pub const TOKEN_RESPONSE_BYTES: usize = 64 * 1024;

/// How long before its end a token is renewed, or a quarter of its lifetime if that is less: time
/// for a few tries at a server that fails.
pub const TOKEN_AHEAD: Duration = Duration::from_secs(60);

/// How long a token holds whose server does not say: short, since a target refuses it afterwards.
pub const TOKEN_LIFETIME_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Longest time that a token is used: what was revoked must not go on for weeks.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after a refused token was replaced the new one is not: a target that refuses all tokens
/// must not have one fetched for every delivery.
pub const TOKEN_REJECTED_REST: Duration = Duration::from_secs(10);

/// Longest wait of a delivery that cannot be prepared, such as for want of a secret.
pub const NOT_PREPARED_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a target may accept nothing before it is disabled, when it does not say: Svix's five
/// days, long enough for a weekend and the day after.
pub const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// Longest that a target may ask for; beyond it there is `never`.
pub const DISABLE_AFTER_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Attempts that must have failed in a row since the bus started, before a target is disabled for
/// failing: two events that a target refuses a week apart say nothing of the time between.
pub const DISABLE_ATTEMPTS: u32 = 10;

/// How long a target has been failing before that is written down, so that it outlives a restart: a
/// record for each hiccup would be many, and a minute more or less of five days is nothing.
pub const FAILING_MARKED_AFTER: Duration = Duration::from_secs(60);

/// Notices that wait to become events of the bus's own: a few hundred bytes each. More are counted.
pub const NOTICES_WAITING: usize = 4_096;

/// Dead letters of one target that are told in events of their own in one second; the rest of that
/// second is one event with their number. A million must not make a million more.
pub const NOTICES_PER_TARGET: u32 = 5;

/// Targets that are tried at the same time: each may take its whole timeout, beside all deliveries.
pub const TARGET_TESTS: usize = 16;

/// How long a loaded chunk of a slow target may say on disk what is no longer so: what was delivered
/// meanwhile is repeated after a crash. Writing a chunk anew each second would cost a kilobyte and
/// more a second for every such target.
pub const CHUNK_EXCHANGED_AFTER: Duration = Duration::from_secs(10);

/// A loaded chunk is written anew earlier once one part in so many of it has ended.
pub const CHUNK_SHARE_ENDED: usize = 8;

/// Deliveries of one target that wait in memory for an older one of their order key: as many as may
/// wait there for anything else. More are parked one by one.
pub const ORDER_WAITING: usize = LANE_READY;

/// Deliveries of one order key that are read back from disk at once, when it is their turn.
pub const LINE_READ: usize = 64;

/// Deliveries that a lane with an ordering key moves behind older ones of their key before it looks
/// at anything else again: bounds one turn of the lane.
pub const ORDER_HELD_BACK: usize = 512;

/// HTTP clients for the certificates that rules name: each has connections of its own. Of more than
/// this, those that were used longest ago are dropped, and built again.
pub const TLS_CLIENTS: usize = 1_000;

/// Most API keys: each is looked up in memory with every request, and their file is written whole.
pub const API_KEYS: usize = 10_000;

/// Scopes of one API key: three scopes on some buses each with patterns of their own.
pub const API_KEY_GRANTS: usize = 20;

/// Buses that one grant of an API key names.
pub const API_KEY_BUSES: usize = 1_000;

/// Targets that one grant of an API key names.
pub const API_KEY_TARGETS: usize = 1_000;

/// Bytes of a request for an API key: its grants may name many buses and hold patterns.
pub const API_KEY_REQUEST_BYTES: usize = 256 * 1024;

/// Longest life of an API key that is to end.
pub const API_KEY_LIFE_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// How far an API key's calls may run ahead of an even spread: programs come in bursts, and in any
/// second at most twice the rate comes in.
pub const API_KEY_RATE_AHEAD: Duration = Duration::from_secs(1);

/// How exactly the last use of an API key is known.
pub const API_KEY_USE_STEP: Duration = Duration::from_secs(60);

/// How often last uses are written down, if there were any; a kill loses that much of them.
pub const API_KEY_USES_WRITTEN_EVERY: Duration = Duration::from_secs(5 * 60);

/// How long a revoked or expired API key is still shown, so that whoever wonders can see why.
pub const API_KEY_SHOWN_AFTER_END: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Shortest root key: 32 hex digits have 128 bits.
pub const ROOT_KEY_CHARS_MIN: usize = 32;

/// Largest window of a zstd body, as a power of two: 8 MiB, which RFC 9659 bids senders keep to.
pub const ZSTD_WINDOW_LOG: u32 = 23;

/// Bytes of memory for what requests with idempotency keys were answered, the oldest forgotten first:
/// 150,000 requests with one event, or two million events in batches of a thousand.
pub const IDEMPOTENCY_BYTES: usize = 32 * 1024 * 1024;

/// How long the answer to a publish is remembered: as long as the longest deduplication window.
pub const IDEMPOTENCY_KEPT: Duration = DEDUP_WINDOW;

/// Longest idempotency key, in characters: as common APIs take.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;

/// How long the answer to a request that created something is kept, to be given again: long enough for
/// a connection that broke. It may hold the text of a new API key.
pub const KEPT_ANSWERS_AGE: Duration = Duration::from_secs(10 * 60);

/// Bytes of all such answers; of more the oldest go.
pub const KEPT_ANSWERS_BYTES: usize = 8 * 1024 * 1024;

/// Largest one of them: the grants of an API key come back in its answer.
pub const KEPT_ANSWER_BYTES: usize = 1024 * 1024;

/// Longest `X-Request-Id` of a caller's that is taken: it stands in each of the request's log lines.
pub const REQUEST_ID_BYTES: usize = 128;

/// Who follow buses at once: each holds a connection, and reads the log once more.
pub const TAILS: usize = 256;

/// Longest silence towards one who follows a bus: its connection is known to stand, and its cursor
/// moves on over what it did not want.
pub const TAIL_SAYS_EVERY: Duration = Duration::from_secs(15);

/// Memory for the traces of attempts, unless the operator says otherwise: some 120,000 deliveries that
/// worked at once, and 14,000 failures with a kilobyte of answer each.
pub const TRACE_BYTES: u64 = 32 * 1024 * 1024;

/// How long a trace is kept at most, unless the operator says otherwise.
pub const TRACE_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes kept of what a target answered to a delivery that worked: there are many of these.
pub const TRACE_SUCCESS_BYTES: usize = 256;

/// Attempts in one chunk of traces, which is let go at once and looked through without a lock.
pub const TRACE_CHUNK: usize = 512;

/// Chunks that the traces have room for, at least: one is at most so small a part of them.
pub const TRACE_CHUNKS_MIN: usize = 16;

/// Targets that a trace asks the log about beside those that it knows of: targets whose rules were
/// changed or deleted since. Each costs some look-ups on disk.
pub const TRACE_OTHER_TARGETS: usize = 10_000;

/// Time for a whole TLS handshake: some round trips, over any network that is of use.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS handshakes under way at once: below `CONNECTIONS`, so that clients which never finish one
/// leave places to those that did; each costs some 20 KiB.
pub const TLS_HANDSHAKES: usize = 1_024;

/// Largest file of certificates: all public authorities together are a fifth of it.
pub const TLS_FILE_BYTES: usize = 1024 * 1024;

/// How often the listener's certificates are read, to see whether they are others: three small files.
/// A watch of the system's would miss those behind links and on network file systems.
pub const TLS_FILES_READ_EVERY: Duration = Duration::from_secs(10);

/// How long a puller has for a delivery when neither it nor the target says: a handler that takes
/// longer extends, and of one that died the delivery comes to another soon.
pub const PULL_LEASE_DEFAULT: Duration = Duration::from_secs(30);

/// Shortest lease: below it the way to the puller and back is most of it.
pub const PULL_LEASE_MIN: Duration = Duration::from_secs(1);

/// Longest lease, and longest extension: what a dead puller holds comes again after it.
pub const PULL_LEASE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Deliveries of one target that are leased at once when it does not say: each is a small task.
pub const PULL_LEASES_DEFAULT: usize = 1_000;

/// Most of them that a target may ask for.
pub const PULL_LEASES_MAX: usize = 10_000;

/// Deliveries that one request pulls at most: their events are read at the same time.
pub const PULL_DELIVERIES: usize = 256;

/// Deliveries that a request pulls when it does not say.
pub const PULL_DELIVERIES_DEFAULT: usize = 10;

/// Bytes of events in the answer to one pull, beyond which it gets no more of them: one of the
/// largest fits, written out in base64.
pub const PULL_ANSWER_BYTES: usize = 2 * EVENT_BYTES;

/// Bytes of one target's events that answers to pulls hold, so that pullers who read slowly cost
/// memory within bounds, and hold up their own target only.
pub const PULL_ANSWERS_BYTES: usize = 8 * PULL_ANSWER_BYTES;

/// Longest that a pull waits for a delivery: proxies commonly cut silent requests off after 60 s.
pub const PULL_WAIT_MAX: Duration = Duration::from_secs(50);

/// Requests that wait for deliveries of one target: each is a connection.
pub const PULLS_WAITING: usize = 1_000;

/// Tokens that one request acknowledges, gives back or extends.
pub const PULL_TOKENS: usize = 1_000;

/// Bytes of a request that pulls or answers for what was pulled: `PULL_TOKENS` of them fit.
pub const PULL_REQUEST_BYTES: usize = 64 * 1024;

/// Longest delay that a puller may ask for when it gives a delivery back.
pub const PULL_DELAY_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Leases of one target of which it is remembered how their pullers ended them, so that who says it again
/// hears the same: some 200 bytes each.
pub const PULL_WORDS: usize = 20_000;

/// How long it is remembered: longer than a client waits for an answer before it asks again.
pub const PULL_WORDS_AGE: Duration = Duration::from_secs(5 * 60);

/// How long an acknowledgement waits to be on disk before it is answered that this is not known.
pub const PULL_ACK_PATIENCE: Duration = Duration::from_secs(10);

/// Backtests at once: each reads the whole log and keeps a processor busy.
pub const BACKTESTS: usize = 2;

/// Frames between two looks at whether anybody still waits for a backtest: a fraction of a millisecond.
pub const BACKTEST_STEPS: u64 = 256;

/// How often a backtest tells how far it is: a person watches a bar.
pub const BACKTEST_TELLS_EVERY: Duration = Duration::from_millis(100);

/// Messages of a backtest that wait for its caller; more are not made.
pub const BACKTEST_TOLD: usize = 4;

/// How far a backtest steps back behind all else that wants a processor (as `nice` has it).
pub const BACKTEST_NICE: i32 = 10;

/// Matches that a backtest shows, of the first and of the last, where nothing is said.
pub const BACKTEST_SAMPLES_DEFAULT: usize = 5;

/// The most of these that may be asked for.
pub const BACKTEST_SAMPLES: usize = 100;

/// Bytes of a request that changes the log's level: a directive for each module of the bus and of what
/// it stands on.
pub const LOG_LEVEL_BYTES: usize = 64 * 1024;
/// Longest path that the audit writes down whole, in bytes: names of ours are shorter.
pub const AUDIT_PATH_BYTES: usize = 1_024;

/// Largest document in the audit, before and after a change, in bytes; of a larger one the size.
pub const AUDIT_DOCUMENT_BYTES: usize = 64 * 1024;

/// Size from which on the audit goes on in another file, in bytes: what is let go of at a time, and
/// read at a time.
pub const AUDIT_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// All files of the audit, in bytes: some hundred thousand changes.
pub const AUDIT_BYTES: u64 = 256 * 1024 * 1024;

/// Files that one page of the audit is searched in, and bytes of them times `AUDIT_FILE_BYTES` read.
pub const AUDIT_FILES_PER_PAGE: usize = 8;

/// How long the audit is kept unless it is said.
pub const AUDIT_RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Refused calls written down at once, and how many more in a minute: a day of wrong keys writes some
/// 4 MB, and pushes out what changed only after two months.
pub const AUDIT_REFUSALS_AT_ONCE: u64 = 100;

/// See above.
pub const AUDIT_REFUSALS_PER_MINUTE: u64 = 10;

/// Largest body of a call that the audit reads ahead, to write down what was asked for.
pub const AUDIT_ASKED_BYTES: usize = DEAD_LETTER_REQUEST_BYTES;

/// Longest request id that the audit writes down, in bytes.
pub const AUDIT_REQUEST_ID_BYTES: usize = 128;

/// How often the audit is looked through for what is past its retention; it goes a file at a time.
pub const AUDIT_LOOKED_AT_EVERY: Duration = Duration::from_secs(10 * 60);

/// Largest token of an identity provider, in bytes: they travel in a header, and people put groups by
/// the hundred into them.
pub const TOKEN_BYTES: usize = 16 * 1024;

/// How far the clocks of the bus and of an identity provider may be apart.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(60);

/// Characters of a token's subject that the audit shows.
pub const TOKEN_SUBJECT_CHARS: usize = 256;

/// Keys of one key set: providers have two or three.
pub const TOKEN_SIGNERS: usize = 100;

/// Largest key set, in bytes: its keys, with the certificates that some put beside them.
pub const SIGNERS_BYTES: usize = 512 * 1024;

/// Time for an identity provider to answer with its keys: a request with a token of a new one waits
/// for it.
pub const SIGNERS_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the keys are asked for because a token names an unknown one: strangers can make one up
/// with each request.
pub const SIGNERS_LEARNED_EVERY: Duration = Duration::from_secs(60);

/// How often they are fetched anyway: how long a key holds that the provider has withdrawn.
pub const SIGNERS_FETCHED_EVERY: Duration = Duration::from_secs(10 * 60);

/// How often a file with them is read.
pub const SIGNERS_READ_EVERY: Duration = Duration::from_secs(10);

/// How long a backup may take: the journal lets go of nothing meanwhile, and one that nobody fetches
/// must not fill the disk.
pub const BACKUP_TIME: Duration = Duration::from_secs(6 * 60 * 60);

/// Bytes of a backup that are read and sent at once.
pub const BACKUP_PART_BYTES: u64 = 256 * 1024;

/// Largest manifest of a backup, in bytes: a file is some 150, and a hundred thousand fit.
pub const BACKUP_MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// Events of which it is remembered in whose trace they were published: about 100 bytes each, and the
/// `tracestate` that some publishers send.
pub const TRACE_CONTEXTS: usize = 100_000;

/// Longest `tracestate` that is passed on: what W3C Trace Context asks to be at least.
pub const TRACESTATE_BYTES: usize = 512;

/// Spans that wait to be sent, at most some two kilobytes each: the receiver may be away for a moment. More are let
/// go.
pub const SPANS_QUEUED: usize = 8_192;

/// Bytes that a span holds of an event's id, source or type, or of an error: an id alone may have 64 KiB.
pub const SPAN_TEXT_BYTES: usize = 256;

/// Spans in one request: what OpenTelemetry's own exporters send.
pub const SPANS_BATCH: usize = 512;

/// How long a span waits for a full batch.
pub const SPANS_WAIT: Duration = Duration::from_secs(1);

/// How long a receiver of spans may take for a batch.
pub const SPANS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last spans may take when the bus stops: a receiver that is away must not hold it up.
pub const SPANS_LAST: Duration = Duration::from_secs(2);

/// Times that a batch of spans is tried.
pub const SPANS_ATTEMPTS: usize = 3;

/// Other traces that one attempt names, of a batch: as many as OpenTelemetry lets a span have.
pub const SPAN_LINKS: usize = 127;
