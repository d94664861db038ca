package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/gate"
	"tidings/internal/task"
)

// pushBody is the body of a push that is good, with members put in or in place of others.
func pushBody(members string) string {
	return `{"MsgRandom":1,` + members + `}`
}

// info is a good OfflinePushInfo.
const info = `"OfflinePushInfo":{"Title":"T"}`

func inInfo(members string) string { return pushBody(`"OfflinePushInfo":{` + members + `}`) }

func text(elements ...string) string {
	return pushBody(`"MsgBody":[` + strings.Join(elements, ",") + `]`)
}

func element(kind, content string) string {
	return fmt.Sprintf(`{"MsgType":%q,"MsgContent":%s}`, kind, content)
}

// pushFaults are bodies of push that are refused, with the code and what the text names.
var pushFaults = []struct {
	name, body string
	code       int
	info       string
}{
	// Members.
	{"MsgRandom missing", `{` + info + `}`, 90005, "MsgRandom is missing"},
	{"MsgRandom null", `{"MsgRandom":null,` + info + `}`, 90005, "MsgRandom is missing"},
	{"MsgRandom text", `{"MsgRandom":"1",` + info + `}`, 90005, `want an integer, got "1"`},
	{"MsgRandom negative", `{"MsgRandom":-1,` + info + `}`, 90005, "-1 is not a number from 0 to 4294967295"},
	{"MsgRandom of 33 bits", `{"MsgRandom":4294967296,` + info + `}`, 90005, "4294967296"},
	{"MsgRandom fraction", `{"MsgRandom":1.0,` + info + `}`, 90005, "1.0"},
	{"nothing to say", `{"MsgRandom":1}`, 90001, "neither OfflinePushInfo nor MsgBody"},
	{"nothing to say, and a long DataId", pushBody(`"DataId":"` + strings.Repeat("d", 65) + `"`), 90001, "neither OfflinePushInfo nor MsgBody"},
	{"From_Account number", pushBody(`"From_Account":1,` + info), 90001, "From_Account: want a string"},
	{"From_Account unknown", pushBody(`"From_Account":"ghost",` + info), 90008, "From_Account \"ghost\""},
	{"From_Account empty", pushBody(`"From_Account":"",` + info), 90008, "From_Account"},
	{"DataId long", pushBody(`"DataId":"` + strings.Repeat("é", 33) + `",` + info), 90057, "DataId has 66 bytes"},
	{"DataId number", pushBody(`"DataId":1,` + info), 90001, "DataId"},
	{"MsgLifeTime long", pushBody(`"MsgLifeTime":604801,` + info), 90026, "604801"},
	{"MsgLifeTime negative", pushBody(`"MsgLifeTime":-1,` + info), 90026, "-1"},
	{"MsgLifeTime text", pushBody(`"MsgLifeTime":"1",` + info), 90026, "MsgLifeTime"},
	{"OnlineOnlyFlag", pushBody(`"OnlineOnlyFlag":2,` + info), 90001, "OnlineOnlyFlag"},
	{"LifeTime long", pushBody(`"LifeTime":2419201,` + info), 90001, "LifeTime"},
	{"LifeTime text", pushBody(`"LifeTime":"1",` + info), 90001, "LifeTime"},
	{"IdempotencyKey long", pushBody(`"IdempotencyKey":"` + strings.Repeat("k", 65) + `",` + info), 90001, "IdempotencyKey has 65 bytes"},
	{"DryRun", pushBody(`"DryRun":true,` + info), 90001, "DryRun: want an integer, got true"},
	{"PlanId", pushBody(`"PlanId":"plan",` + info), 95011, `PlanId "plan"`},
	{"body of 10241 bytes", pushBody(info) + strings.Repeat(" ", 10241-len(pushBody(info))), 90056, "10240"},

	// Members that are almost others.
	{"condition", pushBody(`"condition":{"TagsAnd":["a"]},` + info), 90001, "condition is no member, did you mean Condition?"},
	{"Conditions", pushBody(`"Conditions":{"TagsAnd":["a"]},` + info), 90001, "Conditions is no member, did you mean Condition?"},
	{"Conditon", pushBody(`"Conditon":{"TagsAnd":["a"]},` + info), 90001, "did you mean Condition?"},
	{"WHERE", pushBody(`"WHERE":"x",` + info), 90001, "did you mean Where?"},
	{"Were", pushBody(`"Were":"x",` + info), 90001, "did you mean Where?"},
	{"Dryrun", pushBody(`"Dryrun":1,` + info), 90001, "did you mean DryRun?"},
	{"Dry_Run", pushBody(`"Dry_Run":1,` + info), 90001, "did you mean DryRun?"},
	{"PlanID", pushBody(`"PlanID":"x",` + info), 90001, "did you mean PlanId?"},
	{"dataid", pushBody(`"dataid":"x",` + info), 90001, "did you mean DataId?"},
	{"msgrandom", `{"msgrandom":1,` + info + `}`, 90001, "did you mean MsgRandom?"},
	{"unknown in Condition", pushBody(`"Condition":{"TagAnd":["a"]},` + info), 90001, "Condition.TagAnd is no member, did you mean TagsAnd?"},
	{"unknown in Overrides", pushBody(`"Overrides":{"FCM":{}},` + info), 90001, "Overrides.FCM is no member, did you mean Fcm?"},

	// Condition and Where.
	{"both", pushBody(`"Condition":{},"Where":"true",` + info), 90001, "exclude each other"},
	{"Where empty", pushBody(`"Where":"",` + info), 90001, "Where is empty"},
	{"Where blank", pushBody(`"Where":" \t\n",` + info), 90001, "Where is empty"},
	{"Where wrong", pushBody(`"Where":"sex =",` + info), 95001, ""},
	{"Where undefined", pushBody(`"Where":"shoe == \"43\"",` + info), 95001, "shoe"},
	{"tags and attributes", pushBody(`"Condition":{"TagsNot":["a"],"AttrsAnd":{"sex":"f"}},` + info), 90039, ""},
	{"tag twice", pushBody(`"Condition":{"TagsAnd":["a"],"TagsOr":["a"]},` + info), 90022, "TagsOr[0]"},
	{"tag empty", pushBody(`"Condition":{"TagsNot":[""]},` + info), 90040, "TagsNot[0]"},
	{"tag long", pushBody(`"Condition":{"TagsAnd":["` + strings.Repeat("x", 51) + `"]},` + info), 90020, "51 bytes"},
	{"11 tags", pushBody(`"Condition":{"TagsOr":["1","2","3","4","5","6","7","8","9","10","11"]},` + info), 90032, "11 tags"},
	{"attribute undefined", pushBody(`"Condition":{"AttrsOr":{"shoe":"43"}},` + info), 90033, "shoe"},
	{"attributes of two kinds", pushBody(`"Condition":{"AttrsAnd":{"sex":"f","build":"7"}},` + info), 90035, "build"},
	{"canonical form", pushBody(`"Where":"` + strings.Repeat(`tag(\"`+strings.Repeat("\x7f", 50)+`\") || `, 63) + `tag(\"x\")",` + info), 95002, "canonical"},

	// OfflinePushInfo.
	{"OfflinePushInfo text", pushBody(`"OfflinePushInfo":"x"`), 90043, "OfflinePushInfo: want an object"},
	{"PushFlag", inInfo(`"PushFlag":2`), 90043, "OfflinePushInfo.PushFlag: 2 is neither 0 nor 1"},
	{"Title number", inInfo(`"Title":1`), 90043, "OfflinePushInfo.Title"},
	{"Ext object", inInfo(`"Ext":{"a":1}`), 90043, "OfflinePushInfo.Ext: want a string"},
	{"translation without language", inInfo(`"MultiLanguageContent":[{"Title":"x"}]`), 90043, "MultiLanguageContent[0].Language is missing"},
	{"translation with an empty language", inInfo(`"MultiLanguageContent":[{"Language":""}]`), 90043, "MultiLanguageContent[0].Language"},
	{"translation twice", inInfo(`"MultiLanguageContent":[{"Language":"de"},{"Language":"DE"}]`), 90043, "MultiLanguageContent[1].Language \"DE\" is there twice"},
	{"101 translations", inInfo(`"MultiLanguageContent":[` + strings.Repeat(`{"Language":"de"},`, 100) + `{"Language":"de"}]`), 90043, "100"},
	{"BadgeAddNum 0", inInfo(`"BadgeAddNum":0`), 90043, "0 is not a number from 1 to 99"},
	{"BadgeAddNum 100", inInfo(`"BadgeAddNum":100`), 90043, "BadgeAddNum"},
	{"BadgeSetNum 1000", inInfo(`"BadgeSetNum":1000`), 90043, "BadgeSetNum"},
	{"BadgeSetNum -1", inInfo(`"BadgeSetNum":-1`), 90043, "BadgeSetNum"},
	{"template", inInfo(`"PushTemplateId":"1400000001-7"`), 90043, "there is no template \"1400000001-7\""},
	{"template values", inInfo(`"PushTemplateParam":{}`), 90043, "without PushTemplateId"},
	{"template values no object", inInfo(`"PushTemplateParam":[]`), 90043, "PushTemplateParam: want an object"},
	{"AndroidInfo text", inInfo(`"AndroidInfo":""`), 90043, "AndroidInfo: want an object"},
	{"HuaWeiImportance", inInfo(`"AndroidInfo":{"HuaWeiImportance":"HIGH"}`), 90043, `"HIGH" is none of LOW, NORMAL`},
	{"GooglePriority", inInfo(`"AndroidInfo":{"GooglePriority":"max"}`), 90043, "normal, high"},
	{"PushStyle", inInfo(`"AndroidInfo":{"PushStyle":2}`), 90043, "PushStyle"},
	{"OPPONotifyLevel", inInfo(`"AndroidInfo":{"OPPOCategory":"IM","OPPONotifyLevel":3}`), 90043, "3 is none of 1, 2, 16"},
	{"OPPONotifyLevel alone", inInfo(`"AndroidInfo":{"OPPONotifyLevel":1}`), 90043, "needs OPPOCategory"},
	{"OPPO parameters", inInfo(`"AndroidInfo":{"OPPOPrivateTitleParameters":"x"}`), 90043, "want an object"},
	{"VIVONotifyType", inInfo(`"AndroidInfo":{"VIVONotifyType":5}`), 90043, "VIVONotifyType"},
	{"VIVONotifyType list", inInfo(`"AndroidInfo":{"VIVONotifyType":[]}`), 90043, "want a string or a number"},
	{"unknown member twice", inInfo(`"AndroidInfo":{"X":1,"X":2}`), 90001, "AndroidInfo.X is there twice"},
	{"unknown member with a member twice", inInfo(`"AndroidInfo":{"X":{"a":1,"a":2}}`), 90001, "AndroidInfo.X has a member twice"},
	{"BadgeMode", inInfo(`"ApnsInfo":{"BadgeMode":2}`), 90043, "BadgeMode"},
	{"InterruptionLevel", inInfo(`"ApnsInfo":{"InterruptionLevel":"loud"}`), 90043, "time-sensitive"},
	{"LaId missing", inInfo(`"ApnsInfo":{"LiveActivity":{"Event":"end","ContentState":{}}}`), 90043, "LaId is missing"},
	{"LaId long", inInfo(`"ApnsInfo":{"LiveActivity":{"LaId":"` + strings.Repeat("x", 65) + `","Event":"end","ContentState":{}}}`), 90043, "LaId has 65 bytes"},
	{"LaId empty", inInfo(`"ApnsInfo":{"LiveActivity":{"LaId":"","Event":"end","ContentState":{}}}`), 90043, "LaId has 0 bytes"},
	{"Event", inInfo(`"ApnsInfo":{"LiveActivity":{"LaId":"a","Event":"start","ContentState":{}}}`), 90043, "update, end"},
	{"Event empty", inInfo(`"ApnsInfo":{"LiveActivity":{"LaId":"a","Event":"","ContentState":{}}}`), 90043, "Event is empty"},
	{"ContentState", inInfo(`"ApnsInfo":{"LiveActivity":{"LaId":"a","Event":"end","ContentState":[]}}`), 90043, "ContentState: want an object"},
	{"DismissalDate", inInfo(`"ApnsInfo":{"LiveActivity":{"LaId":"a","Event":"update","ContentState":{},"DismissalDate":1}}`), 90043, "Event is not end"},
	{"SoundDuration alone", inInfo(`"HarmonyInfo":{"SoundDuration":1}`), 90043, "needs Sound"},
	{"SoundDuration 61", inInfo(`"HarmonyInfo":{"Sound":"x","SoundDuration":61}`), 90043, "SoundDuration"},

	// MsgBody.
	{"MsgBody object", pushBody(`"MsgBody":{}`), 90007, "MsgBody: want an array"},
	{"MsgBody empty", pushBody(`"MsgBody":[]`), 90007, "MsgBody is missing or empty"},
	{"element null", text("null"), 90010, "MsgBody[0]: want an object"},
	{"no type", text(`{"MsgContent":{}}`), 90010, "MsgBody[0].MsgType is missing"},
	{"unknown type", text(element("TIMRelayElem", "{}")), 90010, "TIMRelayElem"},
	{"no content", text(`{"MsgType":"TIMTextElem"}`), 90010, "MsgContent is missing"},
	{"content no object", text(element("TIMTextElem", `"x"`)), 90010, "MsgContent: want an object"},
	{"no text", text(element("TIMTextElem", `{}`)), 90002, "MsgBody[0].MsgContent.Text is missing"},
	{"text number", text(element("TIMTextElem", `{"Text":1}`)), 90002, "want a string, got a number"},
	{"location", text(element("TIMTextElem", `{"Text":"a"}`), element("TIMLocationElem", `{"Latitude":1,"Longitude":"2"}`)), 90002, "MsgBody[1].MsgContent.Longitude"},
	{"face", text(element("TIMFaceElem", `{"Data":"x"}`)), 90002, "Index is missing"},
	{"download", text(element("TIMSoundElem", `{"Download_Flag":1}`)), 90002, "1 is none of 2"},
	{"image format", text(element("TIMImageElem", `{"ImageFormat":5}`)), 90002, "255"},
	{"two custom", text(element("TIMCustomElem", `{"Desc":"a"}`), element("TIMCustomElem", `{"Desc":"b"}`)), 90002, "at most one"},

	// Overrides.
	{"FCM token", pushBody(`"Overrides":{"Fcm":{"token":"x"}},` + info), 90001, "Overrides.Fcm.token"},
	{"FCM no object", pushBody(`"Overrides":{"Fcm":[]},` + info), 90001, "Overrides.Fcm: want an object"},
	{"authorization", pushBody(`"Overrides":{"Apns":{"Headers":{"authorization":"x"}}},` + info), 90001, "Overrides.Apns.Headers.authorization cannot"},
	{"apns-topic", pushBody(`"Overrides":{"Apns":{"Headers":{"apns-topic":"x"}}},` + info), 90001, "apns-topic"},
	{"pseudo header", pushBody(`"Overrides":{"Apns":{"Headers":{":path":"x"}}},` + info), 90001, "no name of a header"},
	{"line break", pushBody(`"Overrides":{"WebPush":{"Headers":{"Urgency":"a\r\nB: c"}}},` + info), 90001, "printable"},
	{"21 headers", pushBody(`"Overrides":{"WebPush":{"Headers":{` + headers(21) + `}}},` + info), 90001, "20"},
}

func headers(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"x-%d":"v"`, i))
	}
	return strings.Join(list, ",")
}

func TestPushFaults(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	for _, f := range pushFaults {
		n.post("timpush/push", f.body).code(t, f.code, f.info)
	}
	if len(n.tasks.created) > 0 {
		t.Errorf("refused pushes made %d tasks", len(n.tasks.created))
	}
}

// TestBatchFaults: what push says with a code of its own, batch says with 90001, and a
// refused batch has an empty TaskId.
func TestBatchFaults(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	body := func(members string) string { return `{"From_Account":"ada","MsgRandom":1,` + members + `}` }
	const to = `"To_Account":["Mary"],`
	for _, f := range []struct {
		name, body string
		code       int
		info       string
	}{
		{"no MsgRandom", `{"From_Account":"ada",` + to + info + `}`, 90001, "Invalid format of MsgRandom"},
		{"MsgRandom text", `{"From_Account":"ada","MsgRandom":"7",` + to + info + `}`, 90001, "Invalid format of MsgRandom"},
		{"MsgRandom large", `{"From_Account":"ada","MsgRandom":4294967296,` + to + info + `}`, 90001, "Invalid format of MsgRandom"},
		{"no sender", `{"MsgRandom":1,` + to + info + `}`, 90001, "From_Account is missing"},
		{"unknown sender", `{"From_Account":"ghost","MsgRandom":1,` + to + info + `}`, 90008, "ghost"},
		{"no receivers", body(info), 90001, "To_Account is missing or empty"},
		{"empty receivers", body(`"To_Account":[],` + info), 90001, "To_Account is missing or empty"},
		{"receivers a text", body(`"To_Account":"Mary",` + info), 90001, "To_Account: want an array"},
		{"a receiver a number", body(`"To_Account":["Mary",7],` + info), 90001, "To_Account[1]: want a string, got 7"},
		{"501 receivers", body(`"To_Account":[` + strings.Repeat(`"Mary",`, 500) + `"Mary"],` + info), 90011, "501"},
		{"no message", body(strings.TrimSuffix(to, ",")), 90001, "OfflinePushInfo is missing"},
		{"message a text", body(to + `"OfflinePushInfo":"x"`), 90001, "OfflinePushInfo: want an object"},
		{"badge", body(to + `"OfflinePushInfo":{"BadgeAddNum":100}`), 90001, "BadgeAddNum"},
		{"template", body(to + `"OfflinePushInfo":{"PushTemplateId":"x"}`), 90001, "template"},
		{"DataId", body(to + `"DataId":"` + strings.Repeat("d", 65) + `",` + info), 90057, "65 bytes"},
		{"message of 13 KiB", body(to + `"OfflinePushInfo":{"Ext":"` + strings.Repeat("x", 13<<10) + `"}`), 90001, "12288"},
		{"condition", body(to + `"Condition":{},` + info), 90001, "Condition is no member"},
		{"Where", body(to + `"Where":"true",` + info), 90001, "Where is no member"},
		{"PlanId", body(to + `"PlanId":"x",` + info), 90001, "PlanId is no member"},
		{"to_account", body(`"to_account":["Mary"],` + to + info), 90001, "did you mean To_Account?"},
		{"body of 300 KiB", body(to+info) + strings.Repeat(" ", 300<<10), 93000, "262144"},
		{"not JSON", `{`, 90001, "not valid JSON"},
	} {
		a := n.post("timpush/batch", f.body).code(t, f.code, f.info)
		if id, ok := a.members["TaskId"]; !ok || id != "" {
			t.Errorf("%s: got %s, want an empty TaskId", f.name, a.raw)
		}
	}
	for name, edit := range map[string]func(*app.Declaration){"off": func(d *app.Declaration) { d.Push = new(false) }} {
		a := start(t, gate.Options{}, edit).direct().post("timpush/batch", bodies["timpush/batch"]).code(t, 90045, "setting push")
		if a.members["TaskId"] != "" {
			t.Errorf("%s: %s", name, a.raw)
		}
	}
	if len(n.tasks.created) > 0 {
		t.Errorf("refused batches made %d tasks", len(n.tasks.created))
	}
}

// TestPushes: what becomes of a request that is accepted.
func TestPushes(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) { d.Lifetime = nil }).direct()
	everything := `"OfflinePushInfo":{"PushFlag":0,"Title":"T","Desc":"D","MultiLanguageContent":[{"Language":"de","Title":"t","Desc":"d"}],"Ext":"{\"a\":1}","BadgeAddNum":2,"BadgeSetNum":0,"New":1,
		"AndroidInfo":{"Sound":"gong","GoogleChannelID":"c","GoogleImage":"https://x/y.png","GooglePriority":"high","HuaWeiImportance":"LOW","OPPOCategory":"IM","OPPONotifyLevel":16,"VIVONotifyType":"4","XiaoMiNew":{"a": [1]}},
		"ApnsInfo":{"BadgeMode":0,"Title":"AT","SubTitle":"S","Image":"i","MutableContent":1,"Sound":"gong.caf","InterruptionLevel":"passive","ContentAvailable":1,"IsVoipPush":0,
			"LiveActivity":{"LaId":"la","Event":"end","ContentState":{"x": 1},"DismissalDate":7},"Later":true},
		"HarmonyInfo":{"Title":"HT","Category":"C","Image":"https://h","Sound":"s","SoundDuration":60,"Soon":[]}},
		"Overrides":{"Apns":{"Headers":{"apns-priority":"5"},"Payload":{"aps": {}}},"Fcm":{"android":{"ttl":"3s"}},"WebPush":{"Headers":{"Urgency":"low"}}}`
	for _, c := range []struct {
		name, command, body string
		want                string // of what is made, in short
	}{
		{"everyone", "timpush/push", pushBody(info), `push administrator>"" random=1 life=24h0m0s {"title":"T"}`},
		{"no condition", "timpush/push", pushBody(`"Condition":{"TagsOr":null,"AttrsAnd":{}},` + info), `push administrator>"" random=1 life=24h0m0s {"title":"T"}`},
		{
			"condition", "timpush/push", pushBody(`"From_Account":"ada","DataId":"d","Condition":{"TagsAnd":["a"],"TagsOr":["b","c"],"TagsNot":["m"]},` + info),
			`push ada>"tag(\"a\") && (tag(\"b\") || tag(\"c\")) && !tag(\"m\")" random=1 life=24h0m0s data=d {"title":"T"}`,
		},
		{"where", "timpush/push", pushBody(`"Where":" sex in [\"f\"] and not tag(\"m\")","LifeTime":0,` + info), `push administrator>"sex == \"f\" && !tag(\"m\")" random=1 life=0s {"title":"T"}`},
		{"key and plan of nobody", "timpush/push", pushBody(`"IdempotencyKey":"k","LifeTime":60,"PlanId":"",` + info), `push administrator>"" random=1 life=1m0s key=k {"title":"T"}`},
		{"another admin", "timpush/push", pushBody(`"From_Account":"ops","MsgLifeTime":604800,"OnlineOnlyFlag":1,` + info), `push ops>"" random=1 life=24h0m0s {"title":"T"}`},
		{
			"text of the body", "timpush/push", text(element("TIMTextElem", `{"Text":"a"}`), element("TIMFaceElem", `{"Index":1}`), element("TIMLocationElem", `{"Latitude":1.5,"Longitude":-2}`), element("TIMCustomElem", `{"Desc":"d","Ext":"e","Sound":"s"}`)),
			`push administrator>"" random=1 life=24h0m0s {"desc":"a[Face][Location]d","ext":"e","android":{"sound":"s"},"apple":{"sound":"s"}}`,
		},
		{
			"body and title", "timpush/push", pushBody(info + `,"MsgBody":[` + element("TIMTextElem", `{"Text":"a"}`) + `,` + element("TIMCustomElem", `{"Desc":"d","Ext":"e","Sound":"s"}`) + `]`),
			`push administrator>"" random=1 life=24h0m0s {"title":"T","desc":"ad"}`,
		},
		{"Desc wins", "timpush/push", pushBody(`"OfflinePushInfo":{"Desc":"mine"},"MsgBody":[` + element("TIMTextElem", `{"Text":"a","New":1}`) + `]`), `push administrator>"" random=1 life=24h0m0s {"desc":"mine"}`},
		{"media", "timpush/push", text(element("TIMImageElem", `{"ImageFormat":255,"ImageInfoArray":[]}`), element("TIMVideoFileElem", `{"VideoDownloadFlag":2}`), element("TIMFileElem", `{}`), element("TIMSoundElem", `{"Url":null}`)), `push administrator>"" random=1 life=24h0m0s {}`},
		{"lone custom", "timpush/push", text(element("TIMCustomElem", `{"Data":"x"}`)), `push administrator>"" random=1 life=24h0m0s nothing="MsgBody is one TIMCustomElem, and neither it nor OfflinePushInfo has a Desc" {}`},
		{"lone custom with Desc", "timpush/push", text(element("TIMCustomElem", `{"Desc":"x"}`)), `push administrator>"" random=1 life=24h0m0s {"desc":"x"}`},
		{"PushFlag 1", "timpush/push", inInfo(`"PushFlag":1,"Title":"T"`), `push administrator>"" random=1 life=24h0m0s nothing="PushFlag is 1: nothing is sent through vendors" {"title":"T","silent":true}`},
		{"VoIP", "timpush/push", inInfo(`"ApnsInfo":{"IsVoipPush":1}`), `push administrator>"" random=1 life=0s {"apple":{"voip":true}}`},
		{
			"everything", "timpush/batch", `{"From_Account":"Mary","To_Account":["ada","ghost","Mary","Mary"],"MsgRandom":4294967295,` + everything + `}`,
			`batch Mary>[ada ghost Mary Mary] random=4294967295 life=0s {"title":"T","desc":"D","translations":[{"language":"de","title":"t","desc":"d"}],"ext":"{\"a\":1}","badge_add":2,"badge_set":0,` +
				`"android":{"sound":"gong","google_channel_id":"c","google_image":"https://x/y.png","google_priority":"high","fields":{"GoogleChannelID":"c","GoogleImage":"https://x/y.png","GooglePriority":"high","HuaWeiImportance":"LOW","OPPOCategory":"IM","OPPONotifyLevel":16,"Sound":"gong","VIVONotifyType":"4","XiaoMiNew":{"a":[1]}}},` +
				`"apple":{"badge_mode":0,"title":"AT","subtitle":"S","image":"i","mutable_content":true,"sound":"gong.caf","interruption_level":"passive","content_available":true,"live_activity":{"id":"la","event":"end","content_state":{"x":1},"dismissal_date":7},"fields":{"Later":true}},` +
				`"harmony":{"title":"HT","category":"C","image":"https://h","sound":"s","sound_duration":60,"fields":{"Soon":[]}},` +
				`"overrides":{"apns":{"headers":{"apns-priority":"5"},"payload":{"aps":{}}},"fcm":{"android":{"ttl":"3s"}},"webpush":{"headers":{"Urgency":"low"}}}}`,
		},
		{
			"older", "all_member_push/im_push", `{"MsgRandom":5,"MsgLifeTime":60,"DataId":"ignored","Condition":{"AttrsAnd":{"sex":"f"}},"MsgBody":[` + element("TIMTextElem", `{"Text":"a"}`) + `]}`,
			`im_push administrator>"sex == \"f\"" random=5 life=24h0m0s {"desc":"a"}`,
		},
		{"older, everyone", "all_member_push/im_push", `{"MsgRandom":5,"MsgBody":[` + element("TIMTextElem", `{"Text":"a"}`) + `]}`, `im_push administrator>"true" random=5 life=24h0m0s {"desc":"a"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.clock.advance(time.Minute)
			if c.name == "another admin" {
				n.declare(declaration(func(d *app.Declaration) { d.Admins = []string{"ops"} }))
			}
			a := n.post(c.command, c.body).ok(t)
			made := n.tasks.created[len(n.tasks.created)-1]
			if got := short(t, made); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if id := n.tasks.tasks[len(n.tasks.tasks)-1].ID; a.members["TaskId"] != id {
				t.Errorf("%s, want TaskId %s", a.raw, id)
			}
			if made.Gapped == (c.command == "timpush/batch") {
				t.Errorf("Gapped is %t", made.Gapped)
			}
		})
	}
}

// short writes what is made in one line.
func short(t *testing.T, n *task.New) string {
	t.Helper()
	to := fmt.Sprintf("%q", n.Audience.Where)
	if n.Audience.Accounts != nil {
		to = fmt.Sprint(n.Audience.Accounts)
	}
	s := fmt.Sprintf("%s %s>%s random=%d life=%s", n.Command, n.From, to, n.Random, n.Life)
	for _, f := range [][2]string{{"data", n.DataID}, {"key", n.Key}} {
		if f[1] != "" {
			s += " " + f[0] + "=" + f[1]
		}
	}
	if n.Nothing != "" {
		s += fmt.Sprintf(" nothing=%q", n.Nothing)
	}
	b, err := json.Marshal(n.Message)
	if err != nil {
		t.Fatal(err)
	}
	return s + " " + string(b)
}

// TestPushAnswers: what comes from the store of tasks, and batch's ErrorList.
func TestPushAnswers(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	n.tasks.gap, n.tasks.daily = time.Second, 3
	body := func(random int, members string) string {
		return fmt.Sprintf(`{"MsgRandom":%d,%s%s}`, random, members, info)
	}
	first := n.post("timpush/push", body(1, "")).ok(t)
	if again := n.post("timpush/push", body(1, "")).ok(t); again.raw != first.raw {
		t.Errorf("the same push again: %s, want %s", again.raw, first.raw)
	}
	n.post("timpush/push", body(1, `"DataId":"other",`)).code(t, 90024)
	n.post("timpush/push", body(2, "")).code(t, 90024)
	n.clock.advance(time.Second)
	keyed := n.post("timpush/push", body(3, `"IdempotencyKey":"k",`)).ok(t)
	n.clock.advance(time.Hour)
	if again := n.post("timpush/push", body(3, `"IdempotencyKey":"k",`)).ok(t); again.raw != keyed.raw {
		t.Errorf("the same key again: %s, want %s", again.raw, keyed.raw)
	}
	n.post("timpush/push", body(4, `"IdempotencyKey":"k",`)).code(t, 95010, `"k"`)
	n.post("timpush/push", body(5, "")).ok(t)
	n.clock.advance(time.Hour)
	n.post("timpush/push", body(6, "")).code(t, 90047)
	n.tasks.limit = 3
	batch := n.post("timpush/batch", bodies["timpush/batch"]).code(t, 95012)
	if batch.members["TaskId"] != "" {
		t.Errorf("%s, want an empty TaskId", batch.raw)
	}
	n.tasks.limit = 4
	batch = n.post("timpush/batch", `{"From_Account":"ada","To_Account":["ghost","Mary"],"MsgRandom":9,`+info+`}`).ok(t)
	if got := fmt.Sprint(batch.ErrorList); got != "[{ghost 70107 account does not exist}]" || batch.members["TaskId"] != "batch_task_4" {
		t.Errorf("%s", batch.raw)
	}
}

// TestPushOff: without a certificate, and with the setting off, nothing is pushed, whatever
// it is, and what is wrong with the request is said first.
func TestPushOff(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) { d.Push = new(false) }).direct()
	for _, command := range []string{"timpush/push", "all_member_push/im_push", "timpush/batch", "tidings/preview_push"} {
		n.post(command, bodies[command]).code(t, 90045, "setting push of app 1400000001 is off")
	}
	n.post("timpush/push", pushBody(`"DataId":"`+strings.Repeat("x", 65)+`",`+info)).code(t, 90057)
	n.declare(declaration(func(d *app.Declaration) { d.Push = new(true) }))
	if err := n.apps.RemoveCertificate(t.Context(), appID, 1); err != nil {
		t.Fatal(err)
	}
	n.post("timpush/push", bodies["timpush/push"]).code(t, 90045, "no certificate")
	if len(n.tasks.created) != 0 {
		t.Errorf("%d tasks were made", len(n.tasks.created))
	}
}

// TestPushOfDevices: the older family knows UserIDs only.
func TestPushOfDevices(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	_, err := n.store.Users.Change(t.Context(), appID, []audience.Change{{Account: device, Create: true, Kind: audience.RegistrationID, Tags: audience.TagEdit{Op: audience.AddTags, Tags: []string{"phone"}}}})
	if err != nil {
		t.Fatal(err)
	}
	older := func(members string) answer {
		return n.post("all_member_push/im_push", `{"MsgRandom":1,`+members+`"MsgBody":[`+element("TIMTextElem", `{"Text":"a"}`)+`]}`)
	}
	older(`"Condition":{"TagsAnd":["phone"]},`).code(t, 90035, "RegistrationIDs")
	older(`"From_Account":"`+device+`",`).code(t, 90008)
	older(`"Condition":{"TagsNot":["x"]},`).code(t, 90001, "TagsNot is no member")
	older(`"DryRun":1,`).code(t, 90001, "DryRun is no member")
	n.post("all_member_push/im_push", `{"MsgRandom":1,`+info+`}`).code(t, 90007, "MsgBody is missing")
	n.post("timpush/push", pushBody(`"From_Account":"`+device+`","Condition":{"TagsAnd":["phone"]},`+info)).ok(t)
}

// TestPushOrder: of two faults, the first of the checks is said, wherever they are in the body.
func TestPushOrder(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) { d.Push = new(false) }).direct()
	faults := []struct {
		members string
		code    int
	}{
		{`"OnlineOnlyFlag":7`, 90001}, // of members, the first in the body
		{`"DataId":"` + strings.Repeat("d", 65) + `"`, 90057},
		{`"IdempotencyKey":"` + strings.Repeat("k", 65) + `"`, 90001},
		{`"MsgBody":[{"MsgType":"x","MsgContent":{}}]`, 90010},
		{`"OfflinePushInfo":{"PushTemplateId":"x"}`, 90043},
		{`"Overrides":{"Fcm":{"token":""}}`, 90001},
		{`"Where":"("`, 95001},
		{`"From_Account":"ghost"`, 90008},
		{`"X":1`, 90045},
	}
	for i, first := range faults {
		for _, second := range faults[i+1:] {
			for _, members := range []string{first.members + "," + second.members, second.members + "," + first.members} {
				if !strings.Contains(members, "OfflinePushInfo") {
					members += "," + info
				}
				n.post("timpush/push", pushBody(members)).code(t, first.code)
			}
		}
	}
}

// FuzzPush: a push that is accepted is accepted again in the words of JSON, with the same
// message for the same people, and nothing that is refused makes a task.
func FuzzPush(f *testing.F) {
	for _, c := range pushFaults {
		f.Add([]byte(c.body))
	}
	for _, name := range []string{"timpush/push", "timpush/batch", "all_member_push/im_push"} {
		f.Add([]byte(bodies[name]))
	}
	f.Add([]byte(inInfo(`"AndroidInfo":{"a":{"b":[1,2.50]},"VIVONotifyType":"1"},"ApnsInfo":{"x":"\u00e9"}`)))
	n := start(f, gate.Options{}).direct()
	f.Fuzz(func(t *testing.T, body []byte) {
		n.t = t
		n.clock.advance(2 * time.Second)
		ticket := n.query().Encode()
		before := len(n.tasks.created)
		a := n.local(t, "timpush/push", ticket, body)
		if a.ErrorCode != 0 || a.members["TaskId"] == "" {
			if len(n.tasks.created) != before {
				t.Fatalf("%q: %s, and made a task", body, a.raw)
			}
			return
		}
		again := respelt(t, bytes.TrimPrefix(body, []byte("\ufeff")))
		if len(again) > 10<<10 {
			return // < and > are longer now
		}
		n.clock.advance(2 * time.Second)
		if a := n.local(t, "timpush/push", ticket, again); a.ErrorCode != 0 {
			t.Fatalf("%q is accepted, and %q gets %s", body, again, a.raw)
		}
		made := slices.Clone(n.tasks.created[before:])
		n.tasks.forget()
		if made[0].Key != "" {
			return // the second was no push
		}
		var texts [2]string
		for i, m := range made {
			message, err := json.Marshal(m.Message)
			if err != nil {
				t.Fatal(err)
			}
			m.Message = channel.Message{}
			texts[i] = short(t, m) + string(respelt(t, message))
		}
		if texts[0] != texts[1] {
			t.Fatalf("%q makes\n%s\nand %q\n%s", body, texts[0], again, texts[1])
		}
	})
}

// respelt writes JSON in other words.
func respelt(t *testing.T, text []byte) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (m *memoryTasks) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks, m.created, m.answers = nil, nil, map[string]remembered{}
}
