//! The schemas against a table of names and numbers typed from the reference, both ways: a field that
//! is missing, renamed, renumbered or not in the table fails.

use std::collections::BTreeMap;

use control::json;
use prost_reflect::{EnumDescriptor, MessageDescriptor};

/// Message, then its fields. Numbers that the reference does not give are marked with `?`.
const MESSAGES: &[(&str, &str)] = &[
    ("UInt64Value", "value=1"),
    ("DoubleValue", "value=1"),
    ("StringValue", "value=1"),
    ("BoolValue", "value=1"),
    ("StringRegexValue", "value=1 type=2"),
    ("StringMatch", "exclude=1 value=2 type=3 caseless=4"),
    ("CompareStringValue", "exclude=1 value=2"),
    ("CompareStringRegexValue", "exclude=1 value=2 type=3"),
    ("TimeValue", "absolute=1 relative=2"),
    ("CompareTime", "eq=1 neq=2 lt=3 gt=4 gte=5 lte=6"),
    ("CompareUInt64", "eq=1 neq=2 lt=3 gt=4 gte=5 lte=6"),
    ("CompareDouble", "eq=1 neq=2 lt=3 gt=4 gte=5 lte=6"),
    ("QueueItemID", "transaction=1 queue=2"),
    ("Paging", "offset=1 limit=2"),
    ("Limit", "limit=1"),
    ("PagingTotal", "total=1"),
    (
        "Fields",
        "transportid=1 localip=2 remoteip=3 remotemx=4 recipientdomain=5 jobid=6 grouping=7",
    ),
    ("Location", "beginline=1 endline=2 begincolumn=3 endcolumn=4 file=5"),
    (
        "Condition",
        "queues=1 freezes=2 workings=3 ids=4 hold=5 serverids=6 senderips=7 transportids=8 jobids=9 \
         groupings=27 stageids=10 senders=11 recipients=12 tss=13 retrytss=14 retrycounts=15 \
         subjects=16 metadatas=17 quotas=18 sizes=19 retryreasons=20 localips=21 remoteips=22 \
         remotemxs=23 tags=24 priorities=25 probability=28 policygroupings=26",
    ),
    ("Condition.QueueState", "queue=1"),
    ("Condition.FreezeState", "freeze=1"),
    ("Condition.WorkingState", "working=1 updatefreezing=2"),
    ("Condition.ItemID", "transaction=1 queue=2 exclude=3"),
    ("Condition.MailAddress", "localpart=1 domain=2 exclude=3"),
    ("Condition.Metadata", "value=1 exclude=2"),
    ("Condition.Metadata.AnyMatch", "string=1 double=2"),
    ("ConfigGreenDeployRequest", "id=1 conditions=2 config=3 connectionbound=4"),
    ("ConfigGreenConditions", "remoteips=1 serverids=2 probability=3 time=4 count=5"),
    ("ConfigGreenStatusResponse", "id=1 expired=2 time=3 count=4 conditions=5"),
    ("UsersResponse", "count=?"),
    ("VersionResponse", "major=1 minor=2 patch=3"),
    ("HSLCacheResponse", "items=1"),
    (
        "HSLCacheResponse.Item",
        "namespace=1 function=2 maxsize=3 size=4 hits=5 misses=6 evicts=7 waits=8",
    ),
    ("HSLCacheClearRequest", "namespace=1 function=2 arguments=3"),
    ("HSLCacheClearResponse", "affected=1"),
    ("HSLLogResponse", "location=1 text=2 id=3"),
    ("HSLBreakPointRequest", "id=?"),
    (
        "HSLBreakPointResponse",
        "id=1 debugid=2 transactionid=3 location=4 time=5 values=6 callstack=7",
    ),
    ("HSLBreakPointResponse.Frame", "function=1"),
    ("HSLMemoryRequest", "key=1"),
    ("HSLMemoryResponse", "value=1"),
    ("HSLMemoryListRequest", "condition=1 paging=2"),
    ("HSLMemoryListRequest.Condition", "key=1"),
    ("HSLMemoryListResponse", "keys=1"),
    ("HSLMemoryStoreRequest", "key=1 value=2 return=3"),
    ("HSLMemoryStoreResponse", "value=1"),
    ("HSLMemoryDeleteRequest", "key=1 return=2"),
    ("HSLMemoryDeleteResponse", "affected=1 value=2"),
    ("HSLRateFilter", "namespace=? entry=?"),
    ("HSLRateRequest", "paging=? filter=?"),
    ("HSLRateRequest.Paging", "limit=? namespace=? entry=?"),
    ("HSLRateResponse", "item=?"),
    ("HSLRateResponse.Item", "namespace=? entry=? count=? localcount=? oldest=? newest=?"),
    ("HSLRateClearRequest", "filter=?"),
    ("HSLRateClearResponse", "affected=?"),
    ("QueueListRequest", "conditions=1 sortings=2 paging=3"),
    (
        "QueueListRequest.Sorting",
        "ts=1 sender=2 recipient=3 working=4 retryts=5 size=6 retrycount=7",
    ),
    ("QueueListRequest.Sorting.MailAddress", "localpart=1 domain=2"),
    ("QueueListRequest.Sorting.Working", "duration=1"),
    ("QueueListResponse", "items=1 paging=2"),
    (
        "QueueListResponse.QueueItem",
        "id=1 queue=2 freeze=3 working=4 hqfpath=5 ts=6 hold=7 jobid=8 grouping=31 stageid=9 \
         metadata=10 serverid=11 transportid=12 sender=13 recipient=14 retrycount=15 retrydelay=16 \
         retryreason=17 size=18 senderip=19 senderhelo=20 saslusername=21 subject=22 localips=23 \
         localipsordered=30 remoteip=24 remotemx=25 tags=26 quotas=27 dsn=28 priority=29",
    ),
    ("QueueListResponse.QueueItem.WorkingState", "working=1 updatefreezing=2 duration=3"),
    ("QueueListResponse.QueueItem.MailAddress", "localpart=1 domain=2"),
    ("QueueListResponse.QueueItem.DSN", "envid=1 ret=2 notify=3 orcpt=4"),
    (
        "QueueUpdateRequest",
        "conditions=1 move=2 actiontype=3 action=11 transportid=4 metadata=5 freeze=6 duplicate=7 \
         sender=8 recipient=9 retrycount=10 priority=12 paging=13",
    ),
    ("QueueUpdateRequest.Move", "queue=1 freeze=2 retryts=3 retrytsjitter=4"),
    ("QueueUpdateRequest.Action", "type=1 dsn=2"),
    ("QueueUpdateRequest.Action.DSN", "status=1 diagnosticcode=2"),
    ("QueueUpdateRequest.Action.DSN.Status", "class=1 subject=2 detail=3"),
    ("QueueUpdateRequest.MailAddress", "localpart=1 domain=2"),
    ("QueueUpdateResponse", "affected=1 working=2"),
    (
        "QueueGroupByRequest",
        "conditions=1 sortings=2 paging=3 groupbys=4 counts=5 return=6 groupings=7 policygroupings=8",
    ),
    ("QueueGroupByRequest.Sorting", "groupby=1 total=2 count=3 order=4"),
    (
        "QueueGroupByRequest.GroupBy",
        "transportid=1 recipientdomain=2 senderdomain=3 jobid=4 grouping=10 metadata=5 senderip=6 \
         remoteip=7 remotemx=8 localip=9",
    ),
    (
        "QueueGroupByRequest.Counts",
        "queue=1 freeze=2 working=3 ts=4 retryts=5 retrycount=6 priority=8 return=7",
    ),
    ("QueueGroupByRequest.Counts.Return", "type=1 unique=2"),
    (
        "QueueGroupByRequest.Counts.Unique",
        "transportid=1 recipientdomain=2 senderdomain=3 jobid=4 metadata=5 senderip=6 remoteip=7 \
         remotemx=8 localip=9 grouping=11 nogrouping=10",
    ),
    (
        "Groupings",
        "transportid=1 localip=2 remoteip=3 remotemx=4 recipientdomain=5 jobid=6 grouping=7",
    ),
    ("QueueGroupByResponse", "items=1 paging=2"),
    ("QueueGroupByResponse.Item", "groupbys=1 counts=2 total=3"),
    ("QueueUnloadRequest", "conditions=1 freeze=2 partial=3"),
    ("QueueUnloadResponse", "hqfpaths=1 partial=2 working=3"),
    ("QueueImportRequest", "data=1 reset=2"),
    ("QueueImportRequest.Data", "rfc822=1 hqf=2"),
    ("QueueImportRequest.Reset", "transactionid=1 ts=2 retrycount=3"),
    ("QueueImportResponse", "transactionid=1"),
    ("QueueExportRequest", "id=1"),
    ("QueueExportResponse", "hqf=?"),
    ("QueueQuotaRequest", "quota=1"),
    ("QueueQuotaResponse", "count=1 bytes=2"),
    ("SuspendRequest", "id=1 condition=2 paging=4"),
    (
        "SuspendRequest.Condition",
        "transportid=1 localips=2 remoteip=3 remotemx=4 recipientdomain=5 jobid=6 grouping=9 tag=7 \
         pickup=8",
    ),
    ("SuspendResponse", "items=1"),
    (
        "SuspendResponse.Item",
        "source=1 id=2 transportid=3 localip=4 remoteip=5 remotemx=6 recipientdomain=7 jobid=8 \
         grouping=11 ttl=9 tag=10",
    ),
    (
        "SuspendAddRequest",
        "id=9 transportid=1 localip=2 remoteip=3 remotemx=4 recipientdomain=5 jobid=6 grouping=10 \
         ttl=7 tag=8",
    ),
    ("SuspendAddResponse", "id=1"),
    ("SuspendUpdateRequest", "id=9 ttl=7 tag=8"),
    ("SuspendUpdateResponse", "affected=1"),
    ("SuspendDeleteRequest", "id=1"),
    ("SuspendDeleteResponse", "affected=1"),
    ("PolicyRate", "count=1 interval=2"),
    (
        "PolicyIf",
        "transportid=1 localip=2 remoteip=3 remotemx=4 recipientdomain=5 jobid=6 grouping=7",
    ),
    ("PolicyThen", "rate=1 concurrency=2 tag=3 stop=4 properties=5"),
    ("PolicyConditionAddRequest", "id=5 fields=1 if=2 then=3 ttl=4"),
    ("PolicyConditionAddResponse", "id=1"),
    ("PolicyConditionUpdateRequest", "id=1 then=2 ttl=3"),
    ("PolicyConditionUpdateResponse", "affected=1"),
    ("PolicyConditionDeleteRequest", "id=1"),
    ("PolicyConditionDeleteResponse", "affected=1"),
    ("PolicyConditionResponse", "items=1"),
    ("PolicyConditionResponse.Item", "id=1 fields=2 if=3 then=4 ttl=5"),
    (
        "PolicyRateRefillRequest",
        "transportid=1 localip=2 remoteip=3 remotemx=4 recipientdomain=5 jobid=6 grouping=8 tokens=7",
    ),
    ("PolicyRateRefillResponse", "affected=1"),
    (
        "PolicyMatchRequest",
        "transportid=1 localip=2 remoteip=3 remotemx=4 recipientdomain=5 jobid=6 grouping=7",
    ),
    ("PolicyMatchResponse", "policies=1"),
    (
        "PolicyMatchResponse.Policy",
        "fields=1 grouping=2 dynamic=3 tags=4 concurrency=5 rate=6 properties=7 stop=8",
    ),
    ("PolicyMatchResponse.Policy.Dynamic", "id=1 tag=2"),
    ("PolicyGroupingListRequest", "paging=1"),
    ("PolicyGroupingListResponse", "groupings=1"),
    (
        "PolicyGroupingListResponse.Grouping",
        "fields=1 transportid=2 localip=3 remoteip=4 remotemx=5 recipientdomain=6 jobid=7 grouping=8",
    ),
    (
        "PolicyGroupingRequest",
        "fields=1 transportid=2 localip=3 remoteip=4 remotemx=5 recipientdomain=6 jobid=7 grouping=8",
    ),
    ("PolicyGroupingResponse", "items=1"),
    ("PluginCommandRequest", "id=1 arguments=2"),
    ("PluginCommandResponse", "response=1"),
    ("ServerConnectionsListRequest", "condition=1 paging=2"),
    ("ServerConnectionsListRequest.Condition", "connectionid=1 remoteip=2 serverid=3 localip=4"),
    ("ServerConnectionsListResponse", "connections=1"),
    (
        "ServerConnectionsListResponse.Connection",
        "connectionid=1 remoteip=2 remoteport=7 remoteptr=3 localip=8 localport=9 serverid=4 \
         duration=5 transactions=6",
    ),
    ("ServerConnectionsCloseRequest", "reply=1 connectionid=2 remoteip=3 serverid=4 localip=5"),
    ("ServerConnectionsCloseRequest.Reply", "code=1 reason=2"),
    ("ServerConnectionsCloseResponse", "affected=1"),
    ("QueueConnectionsListRequest", "condition=1 paging=2"),
    (
        "QueueConnectionsListRequest.Condition",
        "connectionid=1 localip=2 remoteip=3 remotemx=6 proxyip=4 id=5",
    ),
    ("QueueConnectionsListResponse", "connections=1"),
    (
        "QueueConnectionsListResponse.Connection",
        "connectionid=1 localip=2 localport=3 remoteip=4 remoteport=5 remotemx=12 proxyip=6 \
         duration=7 transactions=8 state=9 stateduration=10 id=11",
    ),
    (
        "QueueConnectionsCloseRequest",
        "connectionid=1 localip=2 remoteip=3 remotemx=6 proxyip=4 id=5",
    ),
    ("QueueConnectionsCloseResponse", "affected=1"),
    ("ResolverCacheClearRequest", "domain=1"),
    ("ResolverCacheClearResponse", "affected=1"),
    ("ResolverQueryRequest", "domain=? seed=? retry=?"),
    ("ResolverQueryResponse", "items=?"),
    ("ResolverQueryResponse.Item", "address=? hostname=? dnssec=? tlsa=?"),
    ("ResolverQueryResponse.TLSA", "dnssec=? rr=?"),
    ("ResolverQueryResponse.TLSA.RR", "usage=? selector=? mtype=? data=?"),
    (
        "TraceSMTPRequest",
        "transportid=1 localip=2 remoteip=3 remotemx=4 recipientdomain=5 jobid=6 grouping=10 \
         connect=7 hexdump=8 nopipelining=9",
    ),
    (
        "ProcessStatsResponse",
        "process=1 resolver=2 servers=3 queue=4 threads=5 metrics=? plugins=? scripting=?",
    ),
    ("ProcessStatsResponse.Plugins", "blocking=?"),
    ("ProcessStatsResponse.Scripting", "memory=?"),
    ("ProcessStatsResponse.Scripting.Memory", "size=? bytes=? maxbytes=?"),
    ("ProcessStatsResponse.Plugins.Blocking", "concurrent=? pending=? maxconcurrent=?"),
    ("ProcessStatsResponse.Metric", "name=? type=? help=? series=?"),
    ("ProcessStatsResponse.Metric.Bucket", "le=? count=?"),
    ("ProcessStatsResponse.Metric.Series", "labels=? value=? count=? buckets=?"),
    ("ProcessStatsResponse.Process", "pid=1 runtime=2 version=3 elapsed=?"),
    ("ProcessStatsResponse.Process.Version", "major=1 minor=2 patch=3"),
    ("ProcessStatsResponse.Cache", "size=1 hits=2 misses=3 expires=4 evicts=5 skips=6 maxsize=7"),
    ("ProcessStatsResponse.Resolver", "pending=1 running=2 maxrunning=4 dedup=5 cache=3 domain=6"),
    ("ProcessStatsResponse.Resolver.Domain", "cache=1"),
    (
        "ProcessStatsResponse.Resolver.Domain.Cache",
        "maxsize=1 size=2 hits=3 misses=4 expires=5 evicts=6",
    ),
    (
        "ProcessStatsResponse.Script",
        "pending=1 running=2 finished=3 errors=4 threads=5 suspended=6 threadid=7",
    ),
    ("ProcessStatsResponse.Server", "serverid=1 connections=2 scripts=3"),
    ("ProcessStatsResponse.Server.Connections", "concurrent=1 maxconcurrent=2"),
    (
        "ProcessStatsResponse.Server.Scripts",
        "connect=1 proxy=2 helo=3 auth=4 mailfrom=5 rcptto=6 eod=7 disconnect=8",
    ),
    (
        "ProcessStatsResponse.Queue",
        "loader=1 scripts=2 queue=3 freeze=4 policy=5 pickup=6 connections=7 quota=8 delivery=9 \
         release=10",
    ),
    ("ProcessStatsResponse.Queue.Loader", "count=1 pending=2 active=3 maxactive=4"),
    ("ProcessStatsResponse.Queue.Scripts", "predelivery=1 postdelivery=2"),
    ("ProcessStatsResponse.Queue.Queues", "defer=1 active=2"),
    ("ProcessStatsResponse.Queue.Queues.Defer", "size=1"),
    ("ProcessStatsResponse.Queue.Queues.Active", "size=1 priorities=2"),
    ("ProcessStatsResponse.Queue.Queues.Active.Priority", "size=1"),
    ("ProcessStatsResponse.Queue.Freeze", "hold=1 update=2"),
    ("ProcessStatsResponse.Queue.Freeze.Hold", "size=1"),
    ("ProcessStatsResponse.Queue.Freeze.Update", "size=1 pending=2"),
    ("ProcessStatsResponse.Queue.Policy", "concurrency=1 rate=2 dynamic=3"),
    ("ProcessStatsResponse.Queue.Policy.Concurrency", "counters=1 suspends=2"),
    ("ProcessStatsResponse.Queue.Policy.Rate", "buckets=1 suspends=2"),
    ("ProcessStatsResponse.Queue.Policy.Dynamic", "suspends=1 conditions=2"),
    ("ProcessStatsResponse.Queue.Pickup", "skips=1 misses=2 count=3 pending=4"),
    ("ProcessStatsResponse.Queue.Connections", "concurrent=1 pooling=2 maxconcurrent=3"),
    ("ProcessStatsResponse.Queue.Quota", "size=1"),
    ("ProcessStatsResponse.Queue.Delivery", "delivered=1 delayed=2 failed=3"),
    ("ProcessStatsResponse.Queue.Release", "pending=1"),
    ("ProcessStatsResponse.Threads", "scripts=1"),
    (
        "ProcessStatsResponse.Threads.Scripts",
        "id=1 pending=2 rescheduled=3 running=4 maxrunning=5 scripts=6 maxscripts=7",
    ),
];

const ENUMS: &[(&str, &str)] = &[
    ("StringRegexValue.Type", "EXACT=0 REGEX=1"),
    ("StringMatch.Type", "EXACT=0 PARTIAL=1 REGEX=2"),
    ("CompareStringRegexValue.Type", "EXACT=0 REGEX=1"),
    ("Queue", "ACTIVE=0 DEFER=1"),
    ("Freeze", "HOLD=0 UPDATE=1"),
    ("Working", "UNKNOWN=0 SENDING=1"),
    ("ActionType", "DELETE=0 BOUNCE=1"),
    ("Order", "ASC=0 DESC=1"),
    ("CountType", "COUNT=0 BYTES=1"),
    ("SuspendResponse.Item.Source", "STATIC=0 CONCURRENCY=1 RATE=2 DYNAMIC=3"),
];

fn table(text: &str) -> BTreeMap<String, Option<i64>> {
    let pair = |pair: &str| {
        let (name, number) = pair.split_once('=').expect("name=number");
        (name.to_owned(), number.parse().ok())
    };
    text.split_whitespace().map(pair).collect()
}

/// Compares names, and numbers where the table has them.
fn check(what: &str, expected: &str, found: BTreeMap<String, i64>) {
    let expected = table(expected);
    let names: Vec<_> = expected.keys().collect();
    assert_eq!(names, found.keys().collect::<Vec<_>>(), "fields of {what}");
    for (name, number) in &expected {
        if let Some(number) = number {
            assert_eq!(*number, found[name], "{what}.{name}");
        }
    }
}

#[test]
fn every_message_has_the_fields_and_numbers_of_the_reference() {
    let pool = json::descriptors();
    for (name, fields) in MESSAGES {
        let message = json::message(name).unwrap_or_else(|| panic!("no message {name}"));
        let found =
            message.fields().map(|f| (f.name().to_owned(), i64::from(f.number()))).collect();
        check(name, fields, found);
    }
    let named = |m: &MessageDescriptor| {
        m.is_map_entry() || MESSAGES.iter().any(|(n, _)| m.full_name() == format!("smtpd.{n}"))
    };
    let others: Vec<_> = pool.all_messages().filter(|m| !named(m)).collect();
    assert!(others.is_empty(), "not in the table: {others:?}");
}

#[test]
fn every_enum_has_the_values_of_the_reference() {
    let pool = json::descriptors();
    for (name, values) in ENUMS {
        let found: EnumDescriptor =
            pool.get_enum_by_name(&format!("smtpd.{name}")).unwrap_or_else(|| panic!("no {name}"));
        let found = found.values().map(|v| (v.name().to_owned(), i64::from(v.number()))).collect();
        check(name, values, found);
    }
    assert_eq!(pool.all_enums().len(), ENUMS.len());
}

#[test]
fn choices_exclude_each_other() {
    let oneofs = [
        ("TimeValue", "absolute relative"),
        ("QueueListResponse.QueueItem", "queue freeze working"),
        ("QueueUpdateRequest", "move actiontype action"),
        ("QueueUpdateRequest.Move", "queue freeze"),
        ("QueueGroupByRequest.Counts.Return", "type unique"),
        ("QueueImportRequest.Data", "rfc822 hqf"),
        ("SuspendRequest", "id condition"),
    ];
    for (name, members) in oneofs {
        let message = json::message(name).unwrap_or_else(|| panic!("no message {name}"));
        let found: Vec<Vec<String>> = message
            .oneofs()
            .map(|oneof| oneof.fields().map(|f| f.name().to_owned()).collect())
            .collect();
        let members: Vec<String> = members.split(' ').map(str::to_owned).collect();
        assert_eq!(found, [members], "{name}");
    }
}
