package api_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/gate"
)

// A packet is a request whose answer is kept in testdata/golden.
type packet struct {
	name, command, body string
	before              []packet // sent first
	edit                func(url.Values)
	head                string // request line and headers, in place of the usual ones
	app                 func(*app.Declaration)
	opts                gate.Options
	phones              bool // Mary has a phone and a tablet, and a phone is nobody's
}

func set(name, value string) func(url.Values) {
	return func(q url.Values) { q.Set(name, value) }
}

// seed is the request of the seed.
const seed = `{
"UserAttrs": [
{
"To_Account": "Mary",
"Attrs": [
"sex",
"city"
]
},
{
"To_Account": "xiaoming",
"Attrs": [
"sex",
"city"
]
}
]
}`

// tagged gives Mary two tags.
var tagged = []packet{{command: "timpush/add_tag", body: `{"UserTags":[{"To_Account":"Mary","Tags":["beta","wk-digest"]}]}`}}

// pushed makes two tasks.
var pushed = []packet{{command: "timpush/push", body: bodies["timpush/push"]}, {command: "timpush/batch", body: bodies["timpush/batch"]}}

var packets = []packet{
	// Each command: a success, and what it reports of accounts.
	{name: "remove_attr/seed", command: "timpush/remove_attr", body: seed},
	{name: "remove_attr/after", command: "timpush/get_attr", body: `{"To_Account":["Mary","xiaoming"]}`, before: []packet{{command: "timpush/remove_attr", body: seed}}},
	{name: "remove_attr/again", command: "timpush/remove_attr", body: seed, before: []packet{{command: "timpush/remove_attr", body: seed}}},
	{name: "remove_attr/none", command: "timpush/remove_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":[]}]}`},
	{name: "remove_attr/partial", command: "timpush/remove_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex"]},{"To_Account":"ghost-17","Attrs":["sex"]}]}`},
	{name: "remove_attr/other_kind", command: "timpush/remove_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":["build"]}]}`},
	{name: "remove_attr/undefined", command: "timpush/remove_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex"]},{"To_Account":"xiaoming","Attrs":["shoe_size"]}]}`},
	{name: "remove_attr/too_many", command: "timpush/remove_attr", body: userList(101, `["sex"]`)},
	{name: "remove_attr/empty", command: "timpush/remove_attr", body: `{"UserAttrs":[]}`},
	{name: "remove_attr/pairs", command: "timpush/remove_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"female"}}]}`},
	{name: "remove_attr/no_account", command: "timpush/remove_attr", body: `{"UserAttrs":[{"to_account":"Mary","Attrs":["sex"]}]}`},
	{name: "remove_attr/null_name", command: "timpush/remove_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":[null]}]}`},
	{name: "remove_attr/legacy", command: "all_member_push/im_remove_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex"]},{"To_Account":"ghost-17","Attrs":["sex"]}]}`},
	{name: "set_attr/ok", command: "timpush/set_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"f","country":"日本"}},{"To_Account":"ada","Attrs":{}}]}`},
	{name: "set_attr/partial", command: "timpush/set_attr", body: `{"UserAttrs":[{"To_Account":"ghost","Attrs":{"sex":"f"}},{"To_Account":"Mary","Attrs":{"build":"7"}},{"To_Account":"ghost","Attrs":{}}]}`},
	{name: "set_attr/value", command: "timpush/set_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"` + strings.Repeat("é", 26) + `"}}]}`},
	{name: "set_attr/too_many", command: "timpush/set_attr", body: userList(101, `{}`)},
	{name: "set_attr/unknown_member", command: "timpush/set_attr", body: `{"Reason":1,"UserAttrs":[{"To_Account":"Mary","Attrs":{},"Reason":[]}]}`},
	{name: "set_attr/undefined", command: "timpush/set_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"Sex":"f"}}]}`},
	{name: "set_attr/number", command: "timpush/set_attr", body: `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":7}}]}`},
	{name: "set_attr/legacy", command: "all_member_push/im_set_attr", body: `{"UserAttrs":[{"To_Account":"ghost","Attrs":{"sex":"f"}}]}`},
	{name: "get_attr/ok", command: "timpush/get_attr", body: `{"To_Account":["xiaoming","Mary","ada","Mary"]}`},
	{name: "get_attr/partial", command: "timpush/get_attr", body: `{"To_Account":["ada","ghost-17"]}`},
	{name: "get_attr/nobody", command: "timpush/get_attr", body: `{"To_Account":["ghost-17"]}`},
	{name: "get_attr/empty", command: "timpush/get_attr", body: `{"To_Account":[]}`},
	{name: "get_attr/too_many", command: "timpush/get_attr", body: `{"To_Account":[` + strings.Repeat(`"Mary",`, 100) + `"Mary"]}`},
	{name: "get_attr/number", command: "timpush/get_attr", body: `{"To_Account":["Mary",10086]}`},
	{name: "get_attr/legacy", command: "all_member_push/im_get_attr", body: `{"To_Account":["Mary","ghost-17"]}`},
	{name: "set_attr_name/ok", command: "timpush/set_attr_name", body: `{"AttrNames":{"3":"plan","4":"app_build"},"AttrTypes":{"4":1}}`},
	{name: "set_attr_name/swap", command: "timpush/set_attr_name", body: `{"AttrNames":{"0":"city","1":"sex"}}`},
	{name: "set_attr_name/taken", command: "timpush/set_attr_name", body: `{"AttrNames":{"3":"plan","4":"sex"}}`},
	{name: "set_attr_name/kind", command: "timpush/set_attr_name", body: `{"AttrNames":{"9":"build"},"AttrTypes":{"9":0}}`},
	{name: "set_attr_name/slot", command: "timpush/set_attr_name", body: `{"AttrNames":{"10":"plan"}}`},
	{name: "set_attr_name/long", command: "timpush/set_attr_name", body: `{"AttrNames":{"3":"` + strings.Repeat("x", 51) + `"}}`},
	{name: "set_attr_name/missing", command: "timpush/set_attr_name", body: `{"AttrNames":null}`},
	{name: "set_attr_name/legacy", command: "all_member_push/im_set_attr_name", body: `{"AttrNames":{"3":"plan"},"AttrTypes":{"3":"ignored"}}`},
	{name: "set_attr_name/legacy_taken", command: "all_member_push/im_set_attr_name", body: `{"AttrNames":{"3":"sex"}}`},
	{name: "get_attr_name/ok", command: "timpush/get_attr_name", body: `{}`},
	{name: "get_attr_name/no_body", command: "timpush/get_attr_name", body: ``},
	{name: "get_attr_name/none", command: "timpush/get_attr_name", body: `{}`, app: func(d *app.Declaration) { d.AttrNames, d.AttrTypes = nil, nil }},
	{name: "get_attr_name/legacy", command: "all_member_push/im_get_attr_name", body: `{}`},

	// Tags.
	{name: "add_tag/partial", command: "timpush/add_tag", body: bodies["timpush/add_tag"]},
	{name: "add_tag/replace", command: "timpush/add_tag", body: `{"Replace":1,"UserTags":[{"To_Account":"Mary","Tags":["b","a"]}]}`, before: tagged},
	{name: "add_tag/replace_none", command: "timpush/add_tag", body: `{"Replace":1,"UserTags":[{"To_Account":"Mary","Tags":[]}]}`, before: tagged},
	{name: "add_tag/long", command: "timpush/add_tag", body: `{"UserTags":[{"To_Account":"Mary","Tags":["` + strings.Repeat("x", 51) + `"]}]}`},
	{name: "add_tag/empty", command: "timpush/add_tag", body: `{"UserTags":[{"To_Account":"Mary","Tags":[""]}]}`},
	{name: "add_tag/eleven", command: "timpush/add_tag", body: `{"UserTags":[{"To_Account":"Mary","Tags":["1","2","3","4","5","6","7","8","9","10","11"]}]}`},
	{name: "add_tag/app_full", command: "timpush/add_tag", body: `{"UserTags":[{"To_Account":"Mary","Tags":["1","2","3"]},{"To_Account":"ada","Tags":["1"]}]}`, app: func(d *app.Declaration) { d.MaxTags = new(2) }},
	{name: "add_tag/replace_2", command: "timpush/add_tag", body: `{"Replace":2,"UserTags":[{"To_Account":"Mary","Tags":["a"]}]}`},
	{name: "add_tag/null", command: "timpush/add_tag", body: `{"UserTags":[{"To_Account":"Mary","Tags":[null]}]}`},
	{name: "add_tag/too_many", command: "timpush/add_tag", body: `{"UserTags":[` + strings.Repeat(`{"To_Account":"Mary","Tags":["a"]},`, 100) + `{"To_Account":"Mary","Tags":["a"]}]}`},
	{name: "add_tag/legacy", command: "all_member_push/im_add_tag", body: bodies["all_member_push/im_add_tag"]},
	{name: "get_tag/ok", command: "timpush/get_tag", body: bodies["timpush/get_tag"], before: tagged},
	{name: "get_tag/legacy", command: "all_member_push/im_get_tag", body: bodies["all_member_push/im_get_tag"], before: tagged},
	{name: "remove_tag/ok", command: "timpush/remove_tag", body: bodies["timpush/remove_tag"], before: tagged},
	{name: "remove_tag/legacy", command: "all_member_push/im_remove_tag", body: bodies["all_member_push/im_remove_tag"]},
	{name: "clear_all_tags/partial", command: "timpush/clear_all_tags", body: bodies["timpush/clear_all_tags"], before: tagged},
	{name: "clear_all_tags/legacy", command: "all_member_push/im_remove_all_tags", body: bodies["all_member_push/im_remove_all_tags"]},

	// Pushes and tasks.
	{name: "push/everyone", command: "timpush/push", body: `{"From_Account":"administrator","MsgRandom":1414213562,"DataId":"spring-launch/eu","OfflinePushInfo":{"PushFlag":0,"Title":"Release 5 is out","Desc":"Open the app to see what changed.","Ext":"{\"screen\":\"changelog\",\"rev\":5}"}}`},
	{name: "push/tags", command: "timpush/push", body: `{"From_Account":"ada","MsgRandom":1618033988,"Condition":{"TagsAnd":["beta"],"TagsOr":["chess","go"],"TagsNot":["muted"]},"OfflinePushInfo":{"PushFlag":0,"Title":"Beta cup","Desc":"Registration closes tonight."}}`},
	{name: "push/attrs", command: "timpush/push", body: `{"From_Account":"ada","MsgRandom":577215664,"OnlineOnlyFlag":1,"Condition":{"AttrsAnd":{"sex":"female","city":"Paris"}},"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"Your monthly report is ready."}}],"OfflinePushInfo":{"PushFlag":0,"Title":"Report","Desc":"Ready to read"}}`},
	{name: "push/both_kinds", command: "timpush/push", body: `{"MsgRandom":1,"Condition":{"TagsAnd":["a"],"AttrsAnd":{"sex":"f"}},"OfflinePushInfo":{}}`},
	{name: "push/no_random", command: "timpush/push", body: `{"OfflinePushInfo":{"Title":"T"}}`},
	{name: "push/misspelt", command: "timpush/push", body: `{"MsgRandom":1,"Conditon":{"TagsAnd":["beta"]},"OfflinePushInfo":{"Title":"T"}}`},
	{name: "push/too_large", command: "timpush/push", body: `{"MsgRandom":1,"OfflinePushInfo":{"Title":"` + strings.Repeat("x", 10<<10) + `"}}`},
	{name: "push/malformed", command: "timpush/push", body: `{"MsgRandom":1,"OfflinePushInfo":{"BadgeAddNum":100}}`},
	{name: "push/off", command: "timpush/push", body: bodies["timpush/push"], app: func(d *app.Declaration) { d.Push = new(false) }},
	{name: "push/dry_run", command: "timpush/push", body: `{"MsgRandom":1,"DryRun":1,"OfflinePushInfo":{"Title":"T"}}`},
	{name: "push/older", command: "all_member_push/im_push", body: bodies["all_member_push/im_push"]},
	{name: "batch/partial", command: "timpush/batch", body: `{"From_Account":"administrator","To_Account":["ada","ghost-17"],"MsgRandom":3141592653,"DataId":"invoice-88213","OfflinePushInfo":{"PushFlag":0,"Title":"Invoice","Desc":"Your invoice has arrived."}}`},
	{name: "batch/ok", command: "timpush/batch", body: bodies["timpush/batch"]},
	{name: "batch/random", command: "timpush/batch", body: `{"From_Account":"ada","To_Account":["ada"],"MsgRandom":"7","OfflinePushInfo":{}}`},
	{name: "batch/dry_run", command: "timpush/batch", body: `{"From_Account":"ada","To_Account":["ada"],"MsgRandom":7,"DryRun":1,"OfflinePushInfo":{"PushFlag":1}}`},
	{name: "preview_push/nobody", command: "tidings/preview_push", body: bodies["tidings/preview_push"]},
	{name: "preview_push/unknown_member", command: "tidings/preview_push", body: `{"Were":"x","OfflinePushInfo":{}}`},
	{name: "list_tasks/two", command: "tidings/list_tasks", body: `{}`, before: pushed},
	{name: "list_tasks/state", command: "tidings/list_tasks", body: `{"States":["paused"]}`},
	{name: "get_task/accepted", command: "tidings/get_task", body: `{"TaskId":"batch_task_2","To_Account":"Mary"}`, before: pushed},
	{name: "get_task/unknown", command: "tidings/get_task", body: `{"TaskId":"task_9"}`, before: pushed},
	{name: "list_receivers/page", command: "tidings/list_receivers", body: `{"TaskId":"batch_task_2","Limit":1}`, before: pushed},
	{name: "explain_delivery/not_fixed", command: "tidings/explain_delivery", body: `{"TaskId":"task_1","To_Account":"Mary"}`, before: pushed},
	{name: "explain_delivery/ghost", command: "tidings/explain_delivery", body: `{"TaskId":"task_1","To_Account":"ghost"}`, before: pushed},
	{name: "pause_task/ok", command: "tidings/pause_task", body: `{"TaskId":"task_1"}`, before: pushed},
	{name: "resume_task/ok", command: "tidings/resume_task", body: `{"TaskId":"task_1"}`, before: append(pushed[:2:2], packet{command: "tidings/pause_task", body: `{"TaskId":"task_1"}`})},
	{name: "stop_task/ok", command: "tidings/stop_task", body: `{"TaskId":"task_1"}`, before: pushed},
	{name: "pause_task/ended", command: "tidings/pause_task", body: `{"TaskId":"task_1"}`, before: append(pushed[:2:2], packet{command: "tidings/stop_task", body: `{"TaskId":"task_1"}`})},

	// Audiences.
	{name: "estimate_audience/where", command: "tidings/estimate_audience", body: bodies["tidings/estimate_audience"]},
	{name: "estimate_audience/condition", command: "tidings/estimate_audience", body: `{"Condition":{"TagsAnd":["beta"],"TagsOr":["wk-digest","none"],"TagsNot":["muted"],"AttrsAnd":null}}`, before: tagged},
	{name: "estimate_audience/attrs", command: "tidings/estimate_audience", body: `{"Condition":{"AttrsAnd":{"sex":"female"},"AttrsOr":{"city":"x"}}}`},
	{name: "estimate_audience/everyone", command: "tidings/estimate_audience", body: `{}`},
	{name: "estimate_audience/syntax", command: "tidings/estimate_audience", body: `{"Where":"sex == "}`},
	{name: "estimate_audience/type", command: "tidings/estimate_audience", body: `{"Where":"sex == \"f\" &&\n sex < \"g\""}`},
	{name: "estimate_audience/undefined", command: "tidings/estimate_audience", body: `{"Where":"shoe_size > 42"}`},
	{name: "estimate_audience/too_large", command: "tidings/estimate_audience", body: `{"Where":"` + strings.Repeat(`tag(\"x\") || `, 70) + `tag(\"x\")"}`},
	{name: "estimate_audience/mixed", command: "tidings/estimate_audience", body: `{"Condition":{"TagsAnd":["a"],"AttrsAnd":{"sex":"f"}}}`},
	{name: "estimate_audience/twice", command: "tidings/estimate_audience", body: `{"Condition":{"TagsAnd":["a"],"TagsOr":["a"]}}`},
	{name: "estimate_audience/empty_tag", command: "tidings/estimate_audience", body: `{"Condition":{"TagsAnd":[""]}}`},
	{name: "estimate_audience/kinds", command: "tidings/estimate_audience", body: `{"Where":"sex == \"f\" && build == \"1\""}`},
	{name: "estimate_audience/both", command: "tidings/estimate_audience", body: `{"Where":"true","Condition":{}}`},
	{name: "estimate_audience/unknown_member", command: "tidings/estimate_audience", body: `{"Were":"true"}`},
	{name: "estimate_audience/unknown_in_condition", command: "tidings/estimate_audience", body: `{"Condition":{"TagAnd":["a"]}}`},
	{name: "explain_audience/in", command: "tidings/explain_audience", body: bodies["tidings/explain_audience"], before: tagged},
	{name: "explain_audience/out", command: "tidings/explain_audience", body: bodies["tidings/explain_audience"]},
	{name: "explain_audience/unknown", command: "tidings/explain_audience", body: `{"To_Account":"ghost"}`},
	{name: "list_audience/all", command: "tidings/list_audience", body: bodies["tidings/list_audience"]},
	{name: "list_audience/expired", command: "tidings/list_audience", body: `{"Next":"AAAAAAAAAAAAAAAA"}`},
	{name: "list_audience/limit", command: "tidings/list_audience", body: `{"Limit":1001}`},
	{name: "list_attr_values/ok", command: "tidings/list_attr_values", body: bodies["tidings/list_attr_values"]},
	{name: "list_attr_values/undefined", command: "tidings/list_attr_values", body: `{"Attr":"shoe_size"}`},
	{name: "list_tags/ok", command: "tidings/list_tags", body: bodies["tidings/list_tags"], before: tagged},

	// Devices.
	{name: "list_devices/all", command: "tidings/list_devices", body: bodies["tidings/list_devices"], phones: true},
	{name: "list_devices/page", command: "tidings/list_devices", body: `{"Limit":1}`, phones: true},
	{name: "list_devices/none", command: "tidings/list_devices", body: `{}`},
	{name: "list_devices/of_user", command: "tidings/list_devices", body: `{"To_Account":"Mary"}`, phones: true},
	{name: "list_devices/of_device", command: "tidings/list_devices", body: `{"To_Account":"` + device + `"}`, phones: true},
	{name: "list_devices/unknown", command: "tidings/list_devices", body: `{"To_Account":"ghost"}`},
	{name: "list_devices/next_of_account", command: "tidings/list_devices", body: `{"To_Account":"Mary","Next":"x"}`},
	{name: "list_devices/expired", command: "tidings/list_devices", body: `{"Next":"no page"}`},
	{name: "list_devices/limit", command: "tidings/list_devices", body: `{"Limit":0}`},
	{name: "remove_device/ok", command: "tidings/remove_device", body: bodies["tidings/remove_device"], phones: true},
	{name: "remove_device/unknown", command: "tidings/remove_device", body: `{"RegistrationID":"Mary"}`},
	{name: "remove_device/missing", command: "tidings/remove_device", body: `{}`},
	{name: "restore_tokens/ok", command: "tidings/restore_tokens", body: bodies["tidings/restore_tokens"], phones: true},
	{name: "restore_tokens/unknown", command: "tidings/restore_tokens", body: `{"RegistrationID":"` + device + `"}`},
	{name: "restore_tokens/both", command: "tidings/restore_tokens", body: `{"RegistrationID":"a","TaskId":"b"}`},
	{name: "restore_tokens/neither", command: "tidings/restore_tokens", body: `{}`},
	{name: "query_online_status/partial", command: "openim/query_online_status", body: bodies["openim/query_online_status"], phones: true},
	{name: "query_online_status/plain", command: "openim/query_online_status", body: `{"To_Account":["Mary","ada"]}`, phones: true},
	{name: "query_online_status/instances", command: "openim/query_online_status", body: `{"To_Account":["Mary"],"IsReturnInstid":1,"IsReturnCustomStatus":1}`, phones: true},
	{name: "query_online_status/device", command: "openim/query_online_status", body: `{"To_Account":["` + device + `"]}`, phones: true},
	{name: "query_online_status/missing", command: "openim/query_online_status", body: `{}`},
	{name: "query_online_status/empty", command: "openim/query_online_status", body: `{"To_Account":[]}`},
	{name: "query_online_status/number", command: "openim/query_online_status", body: `{"To_Account":["Mary",7]}`},
	{name: "query_online_status/flag", command: "openim/query_online_status", body: `{"To_Account":["Mary"],"IsNeedDetail":"1"}`},
	{name: "query_online_status/too_many", command: "openim/query_online_status", body: `{"To_Account":[` + strings.Repeat(`"Mary",`, 500) + `"Mary"]}`},
	{name: "query_online_status/legacy", command: "openim/querystate", body: bodies["openim/querystate"], phones: true},

	{name: "account_import/ok", command: "im_open_login_svc/account_import", body: bodies["im_open_login_svc/account_import"]},
	{name: "account_import/identifier", command: "im_open_login_svc/account_import", body: `{"Identifier":"new"}`},
	{name: "account_import/again", command: "im_open_login_svc/account_import", body: `{"UserID":"Mary","Nick":""}`},
	{name: "account_import/missing", command: "im_open_login_svc/account_import", body: `{"Nick":"N"}`},
	{name: "account_import/number", command: "im_open_login_svc/account_import", body: `{"UserID":10086}`},
	{name: "account_import/long", command: "im_open_login_svc/account_import", body: `{"UserID":"` + strings.Repeat("u", 33) + `"}`},
	{name: "account_import/not_ascii", command: "im_open_login_svc/account_import", body: `{"UserID":"用户"}`},
	{name: "account_import/nick", command: "im_open_login_svc/account_import", body: `{"UserID":"new","Nick":"` + strings.Repeat("n", 501) + `"}`},
	{name: "account_import/nick_type", command: "im_open_login_svc/account_import", body: `{"UserID":"new","Nick":7}`},
	{name: "multiaccount_import/ok", command: "im_open_login_svc/multiaccount_import", body: bodies["im_open_login_svc/multiaccount_import"]},
	{name: "multiaccount_import/accounts", command: "im_open_login_svc/multiaccount_import", body: `{"Accounts":["new","newer"]}`},
	{name: "multiaccount_import/partial", command: "im_open_login_svc/multiaccount_import", body: `{"Accounts":["new",""," x","newer"]}`},
	{name: "multiaccount_import/null", command: "im_open_login_svc/multiaccount_import", body: `{"Accounts":["new",null]}`},
	{name: "multiaccount_import/both", command: "im_open_login_svc/multiaccount_import", body: `{"Accounts":["new"],"AccountList":[]}`},
	{name: "multiaccount_import/too_many", command: "im_open_login_svc/multiaccount_import", body: `{"Accounts":[` + strings.Repeat(`"new",`, 100) + `"new"]}`},
	{name: "account_check/ok", command: "im_open_login_svc/account_check", body: bodies["im_open_login_svc/account_check"]},
	{name: "account_check/missing", command: "im_open_login_svc/account_check", body: `{"CheckItem":[{"UserID":"Mary"},{}]}`},
	{name: "account_delete/ok", command: "im_open_login_svc/account_delete", body: bodies["im_open_login_svc/account_delete"]},
	{name: "account_delete/twice", command: "im_open_login_svc/account_delete", body: `{"DeleteItem":[{"UserID":"Mary"},{"UserID":"Mary"}]}`},
	{name: "account_delete/off", command: "im_open_login_svc/account_delete", body: bodies["im_open_login_svc/account_delete"], app: func(d *app.Declaration) { d.DeleteAccounts = new(false) }},
	{name: "account_delete/empty", command: "im_open_login_svc/account_delete", body: `{}`},
	{name: "kick/ok", command: "im_open_login_svc/kick", body: bodies["im_open_login_svc/kick"]},
	{name: "kick/unknown", command: "im_open_login_svc/kick", body: `{"UserID":"ghost"}`},

	// Each refusal before the body.
	{name: "refused/60002_get", head: "GET /v4/timpush/remove_attr?QUERY HTTP/1.1\r\nHost: im.example.com\r\n\r\n"},
	{name: "refused/60002_bare", head: "GET / HTTP/1.1\r\nHost: im.example.com\r\n\r\n"},
	{name: "refused/60002_head", head: "HEAD / HTTP/1.1\r\nHost: im.example.com\r\n\r\n"},
	{name: "refused/60002_encoding", head: "POST /v4/timpush/remove_attr?QUERY HTTP/1.1\r\nHost: im.example.com\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"},
	{name: "refused/60002_path", command: "timpush", body: seed},
	{name: "refused/60009", command: "timpush/delete_attr", body: seed},
	{name: "refused/60012", command: "timpush/remove_attr", body: seed, edit: func(q url.Values) { q.Del("sdkappid") }},
	{name: "refused/60012_case", command: "timpush/remove_attr", body: seed, edit: func(q url.Values) { q["SDKAppID"] = q["sdkappid"]; q.Del("sdkappid") }},
	{name: "refused/60025_sdkappid", command: "timpush/remove_attr", body: seed, edit: set("sdkappid", "4294967296")},
	{name: "refused/70020", command: "timpush/remove_attr", body: seed, edit: set("sdkappid", "88888888")},
	{name: "refused/60016", command: "timpush/remove_attr", body: seed, app: func(d *app.Declaration) { d.Status = new(app.Disabled) }},
	{name: "refused/60020", command: "timpush/remove_attr", body: seed, app: func(d *app.Declaration) { d.Status = new(app.Suspended) }},
	{name: "refused/60021", command: "timpush/remove_attr", body: seed, app: func(d *app.Declaration) { d.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }},
	{name: "refused/60026", command: "timpush/remove_attr", body: seed, app: func(d *app.Declaration) { d.Hosts = []string{"console.tim.qq.com"} }},
	{name: "refused/60025_identifier", command: "timpush/remove_attr", body: seed, edit: func(q url.Values) { q.Del("identifier") }},
	{name: "refused/60025_usersig", command: "timpush/remove_attr", body: seed, edit: func(q url.Values) { q.Del("usersig") }},
	{name: "refused/60025_contenttype", command: "timpush/remove_attr", body: seed, edit: set("contenttype", "JSON")},
	{name: "refused/70002", command: "timpush/remove_attr", body: seed, edit: set("usersig", "")},
	{name: "refused/70003", command: "timpush/remove_attr", body: seed, edit: set("usersig", "xxx")},
	{name: "refused/70013", command: "timpush/remove_attr", body: seed, edit: set("identifier", "Administrator")},
	{name: "refused/70016", command: "timpush/remove_attr", body: seed, before: []packet{{command: "no key"}}},
	{name: "refused/60017", command: "timpush/remove_attr", body: seed, app: func(d *app.Declaration) { d.DisabledCommands = []string{"timpush/remove_attr"} }},
	{name: "refused/60007", command: "timpush/remove_attr", body: seed, app: func(d *app.Declaration) { d.Limits = app.Limits{"timpush/remove_attr": 1} }, before: []packet{{command: "timpush/remove_attr", body: seed}}},
	{name: "refused/60011", command: "timpush/remove_attr", body: seed, app: func(d *app.Declaration) { d.Limits = app.Limits{app.LimitTotal: 1} }, before: []packet{{command: "timpush/get_attr_name", body: `{}`}}},
	{name: "refused/93000", command: "timpush/remove_attr", body: seed, opts: gate.Options{MaxBodyBytes: 100}},
	{name: "refused/60008", command: "im_open_login_svc/kick", body: seed, opts: gate.Options{MaxBodyBytes: 100}},
	{name: "refused/90001", command: "timpush/remove_attr", body: seed[:len(seed)-1]},
	{name: "refused/90001_empty", command: "timpush/remove_attr", body: ""},
	{name: "refused/90001_array", command: "timpush/remove_attr", body: "[" + seed + "]"},
	{name: "refused/60003", command: "im_open_login_svc/kick", body: seed[:len(seed)-1]},
	{name: "refused/request_id", command: "timpush/remove_attr", body: "{}", opts: gate.Options{RequestIDInBody: true}},
	{name: "request_id", command: "timpush/remove_attr", body: seed, opts: gate.Options{RequestIDInBody: true}},
	{name: "cors", head: "POST /v4/timpush/get_attr_name?QUERY HTTP/1.1\r\nHost: im.example.com\r\nOrigin: https://console.example.com\r\nContent-Length: 2\r\n\r\n{}", opts: gate.Options{CORSOrigins: []string{"https://console.example.com"}}},
}

// callers are refused for who they are.
var callers = []struct {
	name, command, account string
	app                    func(*app.Declaration)
	ticket                 func(n *node) string
}{
	{"refused/90009", "timpush/remove_attr", "Mary", nil, nil},
	{"refused/90009_legacy", "all_member_push/im_remove_attr", "Mary", nil, nil},
	{"refused/70403", "im_open_login_svc/kick", "Mary", nil, nil},
	{"refused/70051", "timpush/remove_attr", "Mary", func(d *app.Declaration) { d.BlockedAccounts = []string{"Mary"} }, nil},
	{"refused/70001", "timpush/remove_attr", "Mary", nil, func(n *node) string {
		return n.ticketOf(secret, appID, "Mary", n.clock.now().Add(-time.Hour), 59*time.Minute)
	}},
	{"refused/70003_future", "timpush/remove_attr", "Mary", nil, func(n *node) string {
		return n.ticketOf(secret, appID, "Mary", n.clock.now().Add(time.Hour), 59*time.Minute)
	}},
	{"refused/70009", "timpush/remove_attr", "Mary", nil, func(n *node) string {
		return n.ticketOf("another key", appID, "Mary", n.clock.now(), time.Hour)
	}},
	{"refused/70014", "timpush/remove_attr", "Mary", nil, func(n *node) string {
		return n.ticketOf(secret, 88888888, "Mary", n.clock.now(), time.Hour)
	}},
}

var (
	ticketInURL = regexp.MustCompile(`usersig=[A-Za-z0-9*_-]{100,}`)
	requestID   = regexp.MustCompile(`(X-Request-Id: |"RequestId":")[0-9a-f]{16}`)
	date        = regexp.MustCompile(`Date: .*`)
	moment      = regexp.MustCompile(`"(Registered|LastActive|Refreshed)":[0-9]+`) // by the clock of the store
)

// exact is a request and its answer, byte for byte but for what differs each
// time: the ticket, which depends on the version of Go's zlib, the request id
// and the date.
func (n *node) exact(raw string) string {
	n.t.Helper()
	got := string(exchange(n.t, n.addr, raw))
	text := ticketInURL.ReplaceAllString(raw, "usersig=USERSIG") + "\n\n" + got + "\n"
	text = requestID.ReplaceAllString(text, "${1}REQUEST-ID")
	text = moment.ReplaceAllString(text, `"${1}":1800000000`)
	text = date.ReplaceAllString(text, "Date: DATE\r")
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\r\n", "\r\n"), "\r\n", "\n")
}

func post(command string, q url.Values, body string) string {
	return fmt.Sprintf("POST /v4/%s?%s HTTP/1.1\r\nHost: im.example.com\r\nContent-Length: %d\r\n\r\n%s",
		command, strings.ReplaceAll(q.Encode(), "%2A", "*"), len(body), body)
}

// TestGoldenPackets compares requests and answers with testdata/golden: every
// command and every refusal.
func TestGoldenPackets(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packets {
		t.Run(p.name, func(t *testing.T) {
			n := start(t, p.opts, orNothing(p.app))
			if p.phones {
				n.clock.set(time.Now()) // as the store does
				n.addPhones()
			}
			for _, b := range p.before {
				if b.command == "no key" {
					if err := n.apps.RemoveKey(t.Context(), appID, 1); err != nil {
						t.Fatal(err)
					}
					continue
				}
				n.post(b.command, b.body).ok(t)
			}
			q := n.query()
			if p.edit != nil {
				p.edit(q)
			}
			raw := post(p.command, q, p.body)
			if p.head != "" {
				raw = strings.ReplaceAll(p.head, "QUERY", strings.ReplaceAll(q.Encode(), "%2A", "*"))
			}
			golden(t, p.name+".http", n.exact(raw))
		})
		if seen[p.name] {
			t.Errorf("two packets are called %s", p.name)
		}
		seen[p.command], seen[p.name] = true, true
	}
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, gate.Options{}, orNothing(c.app))
			q := n.query()
			q.Set("identifier", c.account)
			q.Set("usersig", n.ticket(c.account))
			if c.ticket != nil {
				q.Set("usersig", c.ticket(n))
			}
			golden(t, c.name+".http", n.exact(post(c.command, q, seed)))
		})
	}
	for _, command := range api.Commands() {
		if !seen[command] {
			t.Errorf("no packet of %s", command)
		}
	}
}

func orNothing(edit func(*app.Declaration)) func(*app.Declaration) {
	if edit == nil {
		return func(*app.Declaration) {}
	}
	return edit
}

// TestSeed holds the sample of the seed to its letter.
func TestSeed(t *testing.T) {
	n := start(t, gate.Options{})
	if got := n.post("timpush/remove_attr", seed).raw; got != `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}` {
		t.Errorf("got %s", got)
	}
	got := n.post("timpush/get_attr", `{"To_Account":["Mary","xiaoming"]}`).raw
	if want := `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserAttrs":[{"To_Account":"Mary","Attrs":{"country":"France"}},{"To_Account":"xiaoming","Attrs":{}}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
