// Package api is the commands of the HTTP API: one table, and a function for each of
// its rows from a decoded request to an answer or an error. How a request gets there
// is package gate.
package api

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/gate"
	"tidings/internal/task"
)

// Parts are what the commands work on.
type Parts struct {
	Apps       *app.Registry
	Users      audience.Store
	Devices    device.Store
	Tasks      task.Store
	Drivers    channel.Drivers // the providers that can be reached
	Dispatcher Dispatcher
	// Unseal returns the credential of a certificate, for previews.
	Unseal func(app uint32, c *app.Certificate) (channel.Secret, error)
	// CheckFCM returns why something cannot be merged into the message that FCM gets; it
	// names the member of Overrides. Nil: everything can.
	CheckFCM func(json.RawMessage) error
}

// Server carries out the commands, and what client apps call. It is an http.Handler.
type Server struct {
	apps       *app.Registry
	users      audience.Store
	devices    device.Store
	tasks      task.Store
	drivers    channel.Drivers
	dispatcher Dispatcher
	unseal     func(app uint32, c *app.Certificate) (channel.Secret, error)
	checkFCM   func(json.RawMessage) error
	previews   *previews
	gate       *gate.Gate
	clients    http.Handler
}

// New creates a Server.
func New(p Parts, opts gate.Options) *Server {
	s := &Server{
		apps: p.Apps, users: p.Users, devices: p.Devices, tasks: p.Tasks, drivers: p.Drivers, dispatcher: p.Dispatcher,
		unseal: p.Unseal, checkFCM: p.CheckFCM, previews: newPreviews(),
	}
	s.gate = gate.New(p.Apps, p.Users, table(s), gate.Clients{Family: clientFamily, Routes: routes(s)}, opts)
	s.clients = s.gate.Clients()
	return s
}

// Commands returns a handler of the commands, and of nothing else.
func (s *Server) Commands() http.Handler { return s.gate }

// Clients returns a handler of what client apps call, and of nothing else.
func (s *Server) Clients() http.Handler { return s.clients }

// Knows reports whether a good ticket of an admin came from a network lately, and of
// which app.
func (s *Server) Knows(network netip.Addr) (app uint32, ok bool) { return s.gate.Knows(network) }

// ServeHTTP answers one request, of either.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(strings.TrimLeft(r.URL.Path, "/"), "v1/") {
		s.clients.ServeHTTP(w, r)
		return
	}
	s.gate.ServeHTTP(w, r)
}

// The families. timpush and all_member_push share their codes.
var (
	pushFamily = &gate.Family{
		NotAdmin: apierr.NotAdmin, BadJSON: apierr.BadJSON, BadField: apierr.BadJSON, BadAccount: apierr.BadJSON,
		TooLarge: apierr.BodyTooLarge, Timeout: apierr.PushTimeout, Internal: apierr.Internal,
	}
	// ownFamily is our own commands, which no document of the hosted service has: they
	// refuse members that they do not know.
	ownFamily = &gate.Family{
		NotAdmin: apierr.NotAdmin, BadJSON: apierr.BadJSON, BadField: apierr.BadJSON, BadAccount: apierr.BadJSON,
		TooLarge: apierr.BodyTooLarge, Timeout: apierr.PushTimeout, Internal: apierr.Internal, Strict: true,
	}
	// onlineFamily has a code of its own for To_Account.
	onlineFamily = &gate.Family{
		NotAdmin: apierr.NotAdmin, BadJSON: apierr.BadJSON, BadField: apierr.BadJSON, BadAccount: apierr.NoReceivers,
		TooLarge: apierr.BodyTooLarge, Timeout: apierr.PushTimeout, Internal: apierr.Internal,
	}
	accountFamily = &gate.Family{
		NotAdmin: apierr.NotAdminAccounts, BadJSON: apierr.BadJSONCommon, BadField: apierr.BadAccountField, BadAccount: apierr.AccountType,
		TooLarge: apierr.Timeout, Timeout: apierr.AccountTimeout, Internal: apierr.AccountInternal,
	}
)

// What rows have in common.
var (
	perSecond100 = gate.Rate{PerSecond: 100}
	perSecond200 = gate.Rate{PerSecond: 200}

	// conditionCodes are those of a Condition or a Where.
	conditionCodes = []*apierr.Kind{
		apierr.TagsAndAttributes, apierr.TooManyTags, apierr.EmptyTag, apierr.TagTooLong, apierr.TagTwice,
		apierr.InvalidAttribute, apierr.WrongAccountKind, apierr.BadWhere, apierr.WhereTooLarge,
	}
)

// pushCodes are those of a push, in the order of the checks, and some more.
func pushCodes(more ...*apierr.Kind) []*apierr.Kind {
	return slices.Concat(
		codes(
			apierr.BadMsgRandom, apierr.BadMsgBody, apierr.BadElement, apierr.BadMsgLifeTime, apierr.BadOfflinePush,
			apierr.DataIDTooLong, apierr.BadMessageFormat,
		),
		conditionCodes,
		codes(apierr.UnknownSender, apierr.PushDisabled, apierr.PlanChanged, apierr.PreviewReplaced, apierr.KeyReused, apierr.TooManyTasks),
		more,
	)
}

// codes returns the kinds that a command may answer.
func codes(kinds ...*apierr.Kind) []*apierr.Kind { return kinds }

// older returns the name of a command in the older family, in which it lacks something
// and nothing else.
func older(name, lacks string) gate.Older {
	return gate.Older{Name: "all_member_push/" + name, Lacks: lacks}
}

// table is the whole API: everything that is made from a list of commands is made from
// it. Contract: spec/timpush-api.md, 1 and 14; spec/conventions.md, 5 and 2.7.
func table(s *Server) []gate.Command {
	rows := []gate.Command{
		{
			Name: "timpush/set_attr_name", Spec: "timpush-api.md 3.1", Family: pushFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.InvalidAttribute),
			Older:   gate.Older{Name: "all_member_push/im_set_attr_name", Lacks: "`AttrTypes`; what is 90033 is 90001", Run: gate.Func(s.imSetAttrName)},
			Example: `{"AttrNames":{"0":"sex","1":"city"}}`, Run: gate.Func(s.setAttrName),
		},
		{
			Name: "timpush/get_attr_name", Spec: "timpush-api.md 3.2", Family: pushFamily, Rate: perSecond100, Effect: gate.Reads,
			Older:   older("im_get_attr_name", "`AttrTypes`"),
			Example: `{}`, Run: gate.Func(s.getAttrName),
		},
		{
			Name: "timpush/set_attr", Spec: "timpush-api.md 4.1", Family: pushFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.TooManyAccounts, apierr.InvalidAttribute),
			Older:   older("im_set_attr", "`ErrorList`"),
			Example: `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"plan":"gold"}}]}`, Run: gate.Func(s.setAttr),
		},
		{
			Name: "timpush/get_attr", Spec: "timpush-api.md 4.2", Family: pushFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   codes(apierr.TooManyAccounts),
			Older:   older("im_get_attr", "`ErrorList`"),
			Example: `{"To_Account":["Mary","xiaoming"]}`, Run: gate.Func(s.getAttr),
		},
		{
			Name: "timpush/remove_attr", Spec: "timpush-api.md 4.3", Family: pushFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.TooManyAccounts, apierr.InvalidAttribute),
			Older:   older("im_remove_attr", "`ErrorList`"),
			Example: `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex","city"]},{"To_Account":"xiaoming","Attrs":["sex","city"]}]}`, Run: gate.Func(s.removeAttr),
		},
		{
			Name: "timpush/add_tag", Spec: "timpush-api.md 5.1", Family: pushFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Body:    gate.Limit{Bytes: 4 << 20}, // 100 users with 100 tags of 50 bytes, escaped: spec/README.md
			Codes:   codes(apierr.TooManyAccounts, apierr.TooManyTags, apierr.EmptyTag, apierr.TagTooLong),
			Older:   gate.Older{Name: "all_member_push/im_add_tag", Lacks: "`Replace`, `ErrorList` and the limit of different tags", Run: gate.Func(s.imAddTag)},
			Example: `{"UserTags":[{"To_Account":"Mary","Tags":["beta","wk-digest"]}]}`, Run: gate.Func(s.addTag),
		},
		{
			Name: "timpush/get_tag", Spec: "timpush-api.md 5.2", Family: pushFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   codes(apierr.TooManyAccounts),
			Older:   older("im_get_tag", "`ErrorList`"),
			Example: `{"To_Account":["Mary"]}`, Run: gate.Func(s.getTag),
		},
		{
			Name: "timpush/remove_tag", Spec: "timpush-api.md 5.3", Family: pushFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.TooManyAccounts),
			Older:   older("im_remove_tag", "`ErrorList`"),
			Example: `{"UserTags":[{"To_Account":"Mary","Tags":["beta"]}]}`, Run: gate.Func(s.removeTag),
		},
		{
			Name: "timpush/clear_all_tags", Spec: "timpush-api.md 5.4", Family: pushFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.TooManyAccounts),
			Older:   older("im_remove_all_tags", "`ErrorList`"),
			Example: `{"To_Account":["Mary"]}`, Run: gate.Func(s.clearAllTags),
		},

		{
			Name: "timpush/push", Spec: "timpush-api.md 6", Family: pushFamily, Rate: perSecond100, Effect: gate.Once,
			Body:  gate.Limit{Bytes: 10 << 10, Over: apierr.PushBodyTooLarge},
			Codes: append(codes(apierr.PushBodyTooLarge), pushCodes(apierr.PushTooSoon, apierr.PushQuotaUsed)...),
			Older: gate.Older{
				Name: "all_member_push/im_push", Run: gate.Func(s.imPush),
				Lacks: "`TagsNot`, `DataId`, `OnlineOnlyFlag` and our own members but `Where`; `MsgBody` is needed; only UserIDs get it",
			},
			Example: `{"From_Account":"administrator","MsgRandom":1618033988,"Condition":{"TagsAnd":["beta"]},"OfflinePushInfo":{"Title":"Beta cup","Desc":"Registration closes tonight."},"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"Registration closes tonight."}}]}`,
			Run:     gate.Func(s.push),
		},
		{
			Name: "timpush/batch", Spec: "timpush-api.md 7", Family: pushFamily, Rate: gate.Rate{PerSecond: 40}, Effect: gate.Once,
			Body:    gate.Limit{Bytes: 256 << 10},
			Refused: `"TaskId":""`,
			Codes: codes(
				apierr.TooManyReceivers, apierr.DataIDTooLong, apierr.UnknownSender, apierr.PushDisabled, apierr.PreviewReplaced, apierr.KeyReused, apierr.TooManyTasks,
			),
			Example: `{"From_Account":"administrator","To_Account":["ada-lov","Mary"],"MsgRandom":3141592653,"DataId":"invoice-88213","OfflinePushInfo":{"PushFlag":0,"Title":"Invoice","Desc":"Your invoice has arrived."}}`,
			Run:     gate.Func(s.batch),
		},
		{
			Name: "tidings/preview_push", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   pushCodes(apierr.TooManyReceivers),
			Example: `{"Where":"plan == \"gold\" && !tag(\"muted\")","OfflinePushInfo":{"Title":"Gold week","Desc":"Two for one until Sunday."}}`,
			Run:     gate.Func(s.previewPush),
		},
		{
			Name: "tidings/list_tasks", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   codes(apierr.PageExpired),
			Example: `{"States":["sending","done"],"Limit":10}`, Run: gate.Func(s.listTasks),
		},
		{
			Name: "tidings/get_task", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   codes(apierr.UnknownTask),
			Example: `{"TaskId":"TASK_ID","To_Account":"Mary","Sample":10}`, Run: gate.Func(s.getTask),
		},
		{
			Name: "tidings/list_receivers", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   codes(apierr.UnknownTask, apierr.PageExpired),
			Example: `{"TaskId":"TASK_ID","Limit":1000}`, Run: gate.Func(s.listReceivers),
		},
		{
			Name: "tidings/explain_delivery", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   codes(apierr.UnknownTask, apierr.UnknownAccount),
			Example: `{"TaskId":"TASK_ID","To_Account":"Mary"}`, Run: gate.Func(s.explainDelivery),
		},
		{
			Name: "tidings/pause_task", Family: ownFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.UnknownTask, apierr.TaskEnded),
			Example: `{"TaskId":"TASK_ID"}`, Run: gate.Func(s.pauseTask),
		},
		{
			Name: "tidings/resume_task", Family: ownFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.UnknownTask, apierr.TaskEnded),
			Example: `{"TaskId":"TASK_ID"}`, Run: gate.Func(s.resumeTask),
		},
		{
			Name: "tidings/stop_task", Family: ownFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.UnknownTask, apierr.TaskEnded),
			Example: `{"TaskId":"TASK_ID"}`, Run: gate.Func(s.stopTask),
		},

		{
			Name: "tidings/estimate_audience", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads, Codes: conditionCodes,
			Example: `{"Where":"plan == \"gold\" && !tag(\"muted\")","Sample":10}`, Run: gate.Func(s.estimateAudience),
		},
		{
			Name: "tidings/explain_audience", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   append(codes(apierr.UnknownAccount), conditionCodes...),
			Example: `{"Where":"plan == \"gold\" && tag(\"beta\")","To_Account":"Mary"}`, Run: gate.Func(s.explainAudience),
		},
		{
			Name: "tidings/list_audience", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   append(codes(apierr.PageExpired), conditionCodes...),
			Example: `{"Where":"plan == \"gold\"","Limit":1000}`, Run: gate.Func(s.listAudience),
		},
		{
			Name: "tidings/list_attr_values", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   codes(apierr.InvalidAttribute),
			Example: `{"Attr":"plan"}`, Run: gate.Func(s.listAttrValues),
		},
		{
			Name: "tidings/list_tags", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Example: `{}`, Run: gate.Func(s.listTags),
		},

		{
			Name: "tidings/list_devices", Family: ownFamily, Rate: perSecond100, Effect: gate.Reads,
			Codes:   codes(apierr.UnknownAccount, apierr.PageExpired),
			Example: `{"Limit":100}`, Run: gate.Func(s.listDevices),
		},
		{
			Name: "tidings/remove_device", Family: ownFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Example: `{"RegistrationID":"3F0C9B52-7A41-4E0D-9C66-18D2B7A40E5F"}`, Run: gate.Func(s.removeDevice),
		},
		{
			Name: "tidings/restore_tokens", Family: ownFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.UnknownAccount),
			Example: `{"TaskId":"3f0c9b52-7a41-4e0d-9c66-18d2b7a40e5f"}`, Run: gate.Func(s.restoreTokens),
		},
		{
			Name: "openim/query_online_status", Spec: "conventions.md 5.6", Family: onlineFamily, Rate: perSecond200, Effect: gate.Reads,
			Codes:   codes(apierr.NoReceivers, apierr.TooManyReceivers),
			Older:   gate.Older{Name: "openim/querystate", Lacks: "`ErrorList`; `Status` is `State`", Run: gate.Func(s.queryState)},
			Example: `{"To_Account":["Mary","xiaoming"],"IsNeedDetail":1}`, Run: gate.Func(s.queryOnlineStatus),
		},

		{
			Name: "im_open_login_svc/account_import", Spec: "conventions.md 5.1", Family: accountFamily, Rate: perSecond200, Effect: gate.Repeatable,
			Codes:   codes(apierr.ProfileTooLong, apierr.AccountLimit, apierr.ReimportTooSoon),
			Example: `{"UserID":"ingrid","Nick":"Ingrid"}`, Run: gate.Func(s.accountImport),
		},
		{
			Name: "im_open_login_svc/multiaccount_import", Spec: "conventions.md 5.2", Family: accountFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.AccountLimit),
			Example: `{"AccountList":[{"UserID":"ingrid","Nick":"Ingrid"},{"UserID":"noor_77"}]}`, Run: gate.Func(s.multiAccountImport),
		},
		{
			Name: "im_open_login_svc/account_check", Spec: "conventions.md 5.4", Family: accountFamily, Rate: perSecond100, Effect: gate.Reads,
			Example: `{"CheckItem":[{"UserID":"Mary"},{"UserID":"ghost-17"}]}`, Run: gate.Func(s.accountCheck),
		},
		{
			Name: "im_open_login_svc/account_delete", Spec: "conventions.md 5.3", Family: accountFamily, Rate: perSecond100, Effect: gate.Repeatable,
			Codes:   codes(apierr.DeletionNotEnabled),
			Example: `{"DeleteItem":[{"UserID":"ghost-17"}]}`, Run: gate.Func(s.accountDelete),
		},
		{
			Name: "im_open_login_svc/kick", Spec: "conventions.md 5.5", Family: accountFamily, Rate: perSecond200, Effect: gate.Repeatable,
			Codes:   codes(apierr.UnknownAccount),
			Example: `{"UserID":"Mary"}`, Run: gate.Func(s.kick),
		},
	}
	for i := range rows {
		rows[i].Doc = docs.Commands[rows[i].Name]
	}
	return rows
}

// Table returns the rows of the API, for documents.
func Table() []gate.Command { return table(&Server{}) }

// Commands lists the names of all commands, such as "timpush/remove_attr", those of the
// older family too.
func Commands() []string {
	var names []string
	for _, c := range Table() {
		names = append(names, c.Names()...)
	}
	return names
}

// Find returns the row of a command by any of its names, with or without "/v4/".
func Find(name string) (gate.Command, bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "/"), "v4/")
	for _, c := range Table() {
		if name == c.Name || name == c.Older.Name {
			return c, true
		}
	}
	return gate.Command{}, false
}
