//! Every limit of the system in one place, with assertions on how they relate. Settings of the same name override the
//! ones that say so; the others are part of a format or a promise.

use std::time::Duration;

/// Largest body of one Chronicle Ingestion API request, uncompressed. The seed's "1 MB", read as 2^20; one byte more is
/// refused. Setting `limits.chronicle_ingestion_body_bytes_max`.
pub const CHRONICLE_INGESTION_BODY_BYTES_MAX: usize = 1 << 20;

/// Largest body of one Chronicle API request, uncompressed (contracts/chronicle.md §2.1: 4 MB today, read as 4 × 2^20).
/// Setting `limits.chronicle_api_body_bytes_max`.
pub const CHRONICLE_API_BODY_BYTES_MAX: usize = 4 << 20;

/// Largest body of one Sekoia request, uncompressed. Sekoia's clients stop at 9 MiB of characters, which escapes can make
/// six times as long (contracts/sekoia.md §1.5). Setting `limits.sekoia_body_bytes_max`.
pub const SEKOIA_BODY_BYTES_MAX: usize = 64 << 20;

/// Largest event that an intake takes, over HTTPS and syslog (contracts/sekoia.md §1.5: 250 KiB; the forwarder's "250k" are
/// 256,000 bytes). Setting `limits.sekoia_event_bytes_max`.
pub const SEKOIA_EVENT_BYTES_MAX: usize = 256_000;

/// Most events of one Sekoia request: each has its id in the reply.
pub const SEKOIA_EVENTS_MAX: usize = 1_000_000;

/// Largest body of one OCI request that puts records in or brings a function's code, uncompressed. Oracle's plugin for
/// fluentd sends up to 9 MB (contracts/oci.md §3.3). Setting `limits.oci_body_bytes_max`.
pub const OCI_BODY_BYTES_MAX: usize = 10 << 20;

/// Largest entry that is put into an OCI log (contracts/oci.md §3.3: 1 MB, read as 2^20).
pub const OCI_ENTRY_BYTES_MAX: usize = 1 << 20;

/// Most entries of one OCI request that puts records in.
pub const OCI_ENTRIES_MAX: usize = 100_000;

/// Most that a function is given and gives back in one call (contracts/oci.md §3.3: 6 MB, read as 6 × 2^20).
pub const OCI_INVOKE_BYTES_MAX: usize = 6 << 20;

/// What of [`ANSWERS_BYTES`] a call of a function holds while it waits and runs, which may be minutes. What it gives back is paid for
/// when it is there; until then the number of processes and the queues of the functions bound it.
pub const OCI_INVOKE_HELD_BYTES: usize = 64 << 10;

/// How far an OCI signature's date may be from our clock, in seconds.
pub const OCI_DATE_SKEW_SECS: i64 = 300;

/// A record that comes from so many calls in a row, one by the log of the other, is not given to a function any more: that is
/// a loop. Chains that are meant are shorter.
pub const LOOP_HOPS_MAX: u32 = 8;

/// Default and largest number of rows of a page of an OCI search (contracts/oci.md §3.4: a console shows 500).
pub const OCI_SEARCH_ROWS_DEFAULT: usize = 500;
/// Largest number of rows that a page of an OCI search may be asked for.
pub const OCI_SEARCH_ROWS_MAX: usize = 1_000;

/// Default and largest number of resources on a page of an OCI list.
pub const OCI_LIST_DEFAULT: usize = 100;
/// Largest number of resources that a page of an OCI list may be asked for.
pub const OCI_LIST_MAX: usize = 1_000;

/// Largest body of our own API (`/api/…`), and of those calls of Google's APIs that take no records in: their bodies are
/// read into trees, which take many times the bytes.
pub const API_BODY_BYTES_MAX: usize = 1 << 20;

/// Most bytes that all requests in flight may hold together. Setting `limits.memory_bytes`.
pub const MEMORY_BYTES: usize = 256 << 20;

/// How long a request may wait for its part of the budget before it is told to slow down: some senders drop on 429 and
/// 503 but are patient (contracts: Vector). Setting `limits.wait_max_ms`.
pub const WAIT_MAX: Duration = Duration::from_secs(8);

/// For how many bytes that a request needs it may wait a second longer: a large body took its sender long to make, and costs
/// it as long to send again.
pub const WAIT_BYTES_PER_SEC: usize = 4 << 20;

/// How much of a body that announced no length is read before its sender must have room for the largest that is allowed.
pub const UNANNOUNCED_BODY_BYTES: usize = 256 << 10;

/// How long a client may take for the head of a request.
pub const HEAD_READ_MAX: Duration = Duration::from_secs(15);

/// How long a body may come without a byte.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(15);

/// How long a whole body may take. Senders give up after 90 s (seed 001).
pub const BODY_READ_MAX: Duration = Duration::from_secs(90);

/// How long a client may read nothing of a reply that is ready for it.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// How long a kept-alive connection may idle between requests.
pub const IDLE_MAX: Duration = Duration::from_secs(300);

/// Most connections open at once. Setting `limits.connections_max`.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Largest head of a request (request line and headers).
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// Largest head of a CONNECT request. A client says little more than where to.
pub const CONNECT_HEAD_BYTES_MAX: usize = 8 << 10;

/// Most hosts whose certificates the googleapis listener keeps; the one that was not asked for longest goes first.
pub const CERTIFICATES_MAX: usize = 256;

/// Deepest nesting of a JSON body. UDM itself nests less than 20 deep.
pub const JSON_DEPTH_MAX: usize = 64;

/// Largest error body: fluent-bit keeps no more of a reply than 4 KiB (contracts/chronicle.md §2.3).
pub const ERROR_BODY_BYTES_MAX: usize = 4 << 10;

/// Most faults listed in one refusal, in entry order.
pub const FAULTS_MAX: usize = 20;

/// Most records of one batch; a record's index must fit the low 32 bits of its id.
pub const BATCH_RECORDS_MAX: usize = 1 << 24;

/// Largest payload of one frame of the log. Above the largest body of any dialect, with room for what a batch says.
pub const FRAME_BYTES_MAX: usize = 96 << 20;

/// Segment size of the log. Setting `log.segment_bytes`.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// How long the log keeps what the store has read but a connector has not. Setting `log.keep`.
pub const LOG_KEEP: Duration = Duration::from_secs(7 * 86_400);

/// How many bytes the log keeps for connectors that lag. Setting `log.keep_bytes`.
pub const LOG_KEEP_BYTES: u64 = 50 << 30;

/// How long a repeat of a batch is recognised. Setting `log.dedup_window`.
pub const DEDUP_WINDOW: Duration = Duration::from_secs(86_400);

/// Most dedup keys kept; the oldest go first. Setting `log.dedup_keys_max`.
pub const DEDUP_KEYS_MAX: u64 = 50_000_000;

/// Longest log type.
pub const LOG_TYPE_BYTES_MAX: usize = 64;

/// Longest namespace, label key or label value.
pub const LABEL_BYTES_MAX: usize = 4 << 10;

/// Most labels of a batch.
pub const LABELS_MAX: usize = 256;

/// Most bytes that the keys and values of a batch's labels have together, as its sender gives them. They stand in every
/// row of the store: without a limit a small batch of short records would be gigabytes there.
pub const LABELS_BYTES_MAX: usize = 64 << 10;

/// Most batches that one request is kept as, where its records differ in namespace or labels. As many as the records of
/// our client's requests, so that those always pass; each costs about a kilobyte until it is written.
pub const REQUEST_BATCHES_MAX: usize = 10_000;

/// Most bytes that the namespaces and labels of one request's batches have together. Those of a forwarder are in each of
/// them, which is how a small body could become a frame that no memory holds.
pub const REQUEST_LABEL_BYTES_MAX: usize = 16 << 20;

/// Most log types that an instance has of its own: the list of all is made anew with every change.
pub const CUSTOM_LOG_TYPES_MAX: usize = 5_000;

/// Most bytes that all forwarders, feeds or lists of an instance, or all collectors of a forwarder, have together: a
/// list of them is made in memory.
pub const RESOURCES_BYTES_MAX: usize = 4 << 20;

/// Most intakes of an instance: every change of one makes the view of all anew.
pub const INTAKES_MAX: usize = 10_000;

/// Most forwarders that an instance may have when a sender makes another.
pub const FORWARDERS_BY_SENDERS_MAX: usize = 100;

/// Largest forwarder, collector or feed as JSON.
pub const RESOURCE_BYTES_MAX: usize = 64 << 10;

/// Most forwarders, collectors or feeds of an instance: every change of one makes the view of all anew.
pub const RESOURCES_MAX: usize = 1_000;

/// Largest reference list as JSON. A list of all lists has their lines, so both limits bound one reply.
pub const REFERENCE_LIST_BYTES_MAX: usize = 256 << 10;

/// Most reference lists of an instance.
pub const REFERENCE_LISTS_MAX: usize = 100;

/// Longest name of a reference list.
pub const REFERENCE_LIST_NAME_BYTES_MAX: usize = 256;

/// Most memory that one compiled filter of a forwarder may take, and its cache while it runs.
pub const FILTER_REGEX_BYTES_MAX: usize = 64 << 10;

/// Most filters that one way in has, its forwarder's included.
pub const FILTERS_MAX: usize = 100;

/// Most filters of all forwarders and collectors of an instance: they are compiled anew with every change, and each may
/// take [`FILTER_REGEX_BYTES_MAX`].
pub const INSTANCE_FILTERS_MAX: usize = 1_000;

/// Largest body of one `runParser`: what Google's library sends at most, 50 MB of logs in base64.
pub const RUN_PARSER_BODY_BYTES_MAX: usize = 64 << 20;

/// Most logs of one `runParser`, as in Google's library (contracts/cbn.md §1.9).
pub const RUN_PARSER_LOGS_MAX: usize = 1_000;

/// Most bytes of one of them.
pub const RUN_PARSER_LOG_BYTES_MAX: usize = 10 << 20;

/// Most bytes of events, errors and dumps that one `runParser` answers with; logs beyond that get an error each.
pub const RUN_PARSER_ANSWER_BYTES_MAX: usize = 16 << 20;

/// Most `runParser` calls that run at the same time; others wait their turn.
pub const RUN_PARSERS_MAX: usize = 2;

/// How long one `runParser` may run, in seconds; logs beyond that get an error each.
pub const RUN_PARSER_SECS_MAX: u64 = 50;

/// Longest program of a kept parser or extension. The longest public ones have about half a megabyte.
pub const PARSER_SOURCE_BYTES_MAX: usize = 1 << 20;

/// Longest log that is kept with an extension.
pub const PARSER_SAMPLE_BYTES_MAX: usize = 256 << 10;

/// Largest body that brings one: program and log in base64.
pub const PARSER_BODY_BYTES_MAX: usize = 2 << 20;

/// Most parsers and extensions of an instance.
pub const PARSERS_MAX: usize = 2_000;

/// Most bytes that all of them have together: a list of them is made in memory.
pub const PARSERS_BYTES_MAX: usize = 12 << 20;

/// How many turns of a log type are kept at least, however old they are: what `rollback` goes back through.
pub const PARSER_TURNS_KEPT: usize = 10;

/// Most stored logs that a parser is tried on before it reads new ones: the newest ones.
pub const PARSER_VALIDATION_LOGS_MAX: usize = 1_000;

/// Most bytes of these logs.
pub const PARSER_VALIDATION_BYTES_MAX: usize = 16 << 20;

/// How long that may take, in seconds; logs beyond that are left out.
pub const PARSER_VALIDATION_SECS_MAX: u64 = 10;

/// Most failures that are kept of it…
pub const PARSER_VALIDATION_ERRORS_MAX: usize = 50;

/// …and most bytes of their logs, in base64.
pub const PARSER_VALIDATION_ERRORS_BYTES_MAX: usize = 512 << 10;

/// Largest log whose keys and values are listed: its tree takes many times the bytes.
pub const KEY_VALUES_LOG_BYTES_MAX: usize = 512 << 10;

/// Most bytes of keys and values that are listed. A deep log repeats its outer keys in each of them.
pub const KEY_VALUES_BYTES_MAX: usize = 4 << 20;

/// Steps that a parser may take for one log of the stream, a step being about a statement: what Google's and our own parsers
/// take at most, many times over. Fewer than a run by hand may take.
pub const NORMALISE_LOG_STEPS: u64 = 1_000_000;

/// Most memory that the fields of one log of the stream may take.
pub const NORMALISE_LOG_MEMORY_BYTES: usize = 64 << 20;

/// Longest log of the stream that a parser is given (contracts/cbn.md §1.9).
pub const NORMALISE_LOG_BYTES: usize = 10 << 20;

/// Most events and entities of one log of the stream.
pub const NORMALISE_LOG_EVENTS: usize = 10_000;

/// Most bytes of the events of one log of the stream.
pub const NORMALISE_LOG_OUTPUT_BYTES: usize = 16 << 20;

/// Most records of a frame that are read at once, and most bytes of them where they are more than one: what parsers make of
/// them is many times as much, and must fit memory. The usual request is read whole.
pub const NORMALISE_SLICE_RECORDS: usize = 16_384;
/// See above.
pub const NORMALISE_SLICE_BYTES: usize = 4 << 20;

/// Records that are parsed one after the other by one thread, and share what they may use.
pub const NORMALISE_CHUNK_RECORDS: usize = 256;

/// Most bytes of such records, where they are more than one.
pub const NORMALISE_CHUNK_BYTES: usize = 1 << 20;

/// Steps that such records may take together: nearly eight thousand each, if they are 256.
pub const NORMALISE_CHUNK_STEPS: u64 = 2_000_000;

/// Most bytes of the events of such records together, if the records themselves do not have half as many.
pub const NORMALISE_CHUNK_OUTPUT_BYTES: usize = 4 << 20;

/// How many bytes of the newest frames are kept as they were read, for the followers that come next.
pub const NORMALISE_SHARED_BYTES: usize = 32 << 20;

/// How many frames, and bytes of them, the store's follower has read at once: small frames share the threads.
pub const NORMALISE_FRAMES_AHEAD: usize = 256;
/// See above.
pub const NORMALISE_FRAME_BYTES_AHEAD: u64 = 2 << 20;

/// Longest message of a parser's failure that is kept.
pub const NORMALISE_MESSAGE_BYTES: usize = 1 << 10;

/// Longest reason of a turn of parsers.
pub const PARSER_REASON_BYTES_MAX: usize = 1 << 10;

/// Newest failures of each log type of an instance that are listed.
pub const FAILURES_KEPT: usize = 1_000;

/// Most logs of one `logs:classify`.
pub const CLASSIFY_LOGS_MAX: usize = 1_000;

/// Default and largest number of rows that one search gives.
pub const SEARCH_ROWS_DEFAULT: usize = 100;
/// Largest number of rows that one search may ask for.
pub const SEARCH_ROWS_MAX: usize = 1_000_000;

/// Largest number of events that one search of Google's APIs gives (contracts/chronicle.md §1.4).
pub const GOOGLE_SEARCH_ROWS_MAX: usize = 10_000;

/// Most bytes of records that one search of Google's APIs gives: its reply is one JSON text and is made in memory.
pub const GOOGLE_SEARCH_BYTES_MAX: usize = 16 << 20;

/// Most log types that one search is narrowed to.
pub const SEARCH_LOG_TYPES_MAX: usize = 1_000;

/// Most conditions of a filter over log types: each is tried on thousands of names.
pub const LOG_TYPES_FILTER_CONDITIONS_MAX: usize = 20;

/// Most events that one call gets by their names.
pub const EVENTS_BATCH_MAX: usize = 100;

/// Most columns of a search that is answered with CSV.
pub const CSV_COLUMNS_MAX: usize = 100;

/// Most values that one look at the values of fields gives.
pub const FIELD_VALUES_MAX: usize = 1_000;

/// Most events that it looks at: the newest ones.
pub const FIELD_VALUES_RECORDS_MAX: usize = 10_000;

/// Longest value that it gives: longer ones help nobody who writes a query.
pub const FIELD_VALUE_BYTES_MAX: usize = 1 << 10;

/// Most bytes that answers of Google's APIs may hold together, from before they are gathered until their clients have
/// read them. Beside [`MEMORY_BYTES`], so that searches never make a sender wait.
pub const ANSWERS_BYTES: usize = 128 << 20;

/// How much of that an answer takes whose records may have so many bytes: the records, their JSON, and what is between.
pub const COPIES_OF_AN_ANSWER: usize = 3;

/// Longest query text.
pub const QUERY_BYTES_MAX: usize = 64 << 10;

/// How much of a text is looked at to tell its log type.
pub const CLASSIFY_BYTES_MAX: usize = 16 << 10;

/// Most log types that a text is said to be of.
pub const CLASSIFY_CANDIDATES_MAX: usize = 5;

/// Lifetime of an access token; one second under the hour, as Google's say.
pub const ACCESS_TOKEN_SECS: u64 = 3_599;

/// Longest life that may be asked for an access token of an impersonated account, as Google's.
pub const ACCESS_TOKEN_SECS_MAX: u64 = 3_600;

/// Most refresh tokens of one account; Google's number.
pub const REFRESH_TOKENS_MAX: usize = 100;

/// Longest life that a sender's signed assertion may claim (`exp` − `iat`), in seconds.
pub const ASSERTION_SECS_MAX: i64 = 3_600;

/// How far a sender's clock may be off for signed assertions, in seconds.
pub const CLOCK_SKEW_SECS: i64 = 300;

/// How long a clean stop may take before what is left is cut off.
pub const STOP_MAX: Duration = Duration::from_secs(5);

/// Largest body that our client sends to the Chronicle API, before compression. Google says "4 MB"; this stays below
/// 4,000,000 as well as below 2^22, so that it holds however the other side counts. Setting of the client.
pub const CLIENT_BODY_BYTES_MAX: usize = (4 << 20) - (256 << 10);

/// Most records of one request of our client. Google's older service takes 10,000 events at a time; the newer one names
/// no number. Setting of the client.
pub const CLIENT_BODY_RECORDS_MAX: usize = 10_000;

/// How long our client waits for one reply (seed 001). Setting of the client.
pub const CLIENT_REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// Most attempts of our client at one request before the caller is told. Setting of the client.
pub const CLIENT_ATTEMPTS_MAX: u32 = 8;

/// How long our client keeps trying one request before the caller is told. Setting of the client.
pub const CLIENT_TRYING_MAX: Duration = Duration::from_secs(600);

/// Largest reply that our client reads.
pub const CLIENT_REPLY_BYTES_MAX: usize = 256 << 20;

/// Largest error reply that our client keeps; the rest of it is not read.
pub const CLIENT_ERROR_BYTES_MAX: usize = 64 << 10;

/// How many bytes a client's spool may take on disk. Setting of the spool.
pub const SPOOL_BYTES_MAX: u64 = 1 << 30;

/// When a client's spool begins a new segment. Also about how much it holds in memory while it freezes one.
pub const SPOOL_SEGMENT_BYTES: u64 = 8 << 20;

const _: () = {
    assert!(ACCESS_TOKEN_SECS <= ACCESS_TOKEN_SECS_MAX, "the usual life is one that may be asked for");
    assert!(CHRONICLE_INGESTION_BODY_BYTES_MAX * 2 < MEMORY_BYTES / 2, "one request must fit an instance's half");
    assert!(FRAME_BYTES_MAX > CHRONICLE_INGESTION_BODY_BYTES_MAX * 2, "any accepted body must fit a frame");
    assert!(SEKOIA_BODY_BYTES_MAX <= MEMORY_BYTES / 4, "a body, its texts and its frame must fit the budget");
    assert!(RUN_PARSER_BODY_BYTES_MAX <= MEMORY_BYTES / 4, "a body, its JSON and its logs must fit the budget");
    assert!(
        RUN_PARSER_ANSWER_BYTES_MAX * COPIES_OF_AN_ANSWER < ANSWERS_BYTES / 2,
        "one answer leaves room for another"
    );
    assert!(
        PARSER_BODY_BYTES_MAX > (PARSER_SOURCE_BYTES_MAX + PARSER_SAMPLE_BYTES_MAX) / 3 * 4,
        "the longest program must fit a body"
    );
    assert!(
        PARSER_VALIDATION_BYTES_MAX * COPIES_OF_AN_ANSWER < ANSWERS_BYTES / 2,
        "one parser that is tried leaves room for another"
    );
    assert!(PARSERS_BYTES_MAX <= PARSER_VALIDATION_BYTES_MAX, "a list leaves room for another, too");
    assert!(FRAME_BYTES_MAX > SEKOIA_BODY_BYTES_MAX + SEKOIA_EVENTS_MAX * 16, "any accepted body must fit a frame");
    assert!(SEKOIA_EVENTS_MAX <= BATCH_RECORDS_MAX, "a request may be one batch");
    assert!(CHRONICLE_API_BODY_BYTES_MAX * 4 < MEMORY_BYTES / 2, "one request must fit an instance's half");
    assert!(
        FRAME_BYTES_MAX > CHRONICLE_API_BODY_BYTES_MAX * 2 + REQUEST_LABEL_BYTES_MAX + REQUEST_BATCHES_MAX * 1_024,
        "any accepted body must fit a frame"
    );
    assert!(REQUEST_BATCHES_MAX >= CLIENT_BODY_RECORDS_MAX, "our client's requests must pass whatever their labels");
    assert!(
        GOOGLE_SEARCH_BYTES_MAX * COPIES_OF_AN_ANSWER < ANSWERS_BYTES / 2,
        "one search must leave room for another"
    );
    assert!(NORMALISE_LOG_STEPS <= NORMALISE_CHUNK_STEPS, "a log alone may use what it is promised");
    assert!(NORMALISE_CHUNK_BYTES < NORMALISE_SLICE_BYTES, "a slice is made of chunks");
    assert!(CLIENT_BODY_RECORDS_MAX <= NORMALISE_SLICE_RECORDS, "the usual request is read whole");
    assert!(CHRONICLE_API_BODY_BYTES_MAX <= NORMALISE_SLICE_BYTES, "the usual request is read whole");
    assert!(BATCH_RECORDS_MAX < u32::MAX as usize, "an index must fit a record id");
    assert!(FAULTS_MAX * 200 <= ERROR_BODY_BYTES_MAX, "all listed faults must fit an error body");
    assert!(WAIT_MAX.as_secs() < 10, "bindplane gives up on headers after 10 s");
    assert!(CLIENT_BODY_BYTES_MAX < 4_000_000, "a body must be below 4 MB however it is counted");
    assert!(CLIENT_REQUEST_TIMEOUT.as_secs() < CLIENT_TRYING_MAX.as_secs(), "one slow reply must leave room to try");
    assert!(SPOOL_SEGMENT_BYTES > CLIENT_BODY_BYTES_MAX as u64, "a segment must hold a full batch");
    assert!(SPOOL_BYTES_MAX > 4 * SPOOL_SEGMENT_BYTES, "a spool must hold more than what is being sent");
};
