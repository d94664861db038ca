package app

import (
	"cmp"
	"net/netip"
	"slices"

	"tidings/internal/audience"
	"tidings/internal/wording"
)

// A Setting is one row of the table of what can be chosen for an app. Configuration,
// flags, JSON, what is shown of an app and the document are made from the rows.
type Setting struct {
	Name    string // in the configuration and in JSON: "blocked_accounts"
	Flag    string // on the command line, where a list is a flag for each item: "blocked-account"
	Arg     string // what the flag takes: "ACCOUNT"
	Default string // of a new app, for the document
	Doc     string // for operators, in Markdown; the first sentence is the help of the flag
	Value
}

// Table returns the table, whose values read texts into d.
func (d *Declaration) Table() []Setting { return table(new(App), d, nil) }

// table returns the table for an app and a declaration: a value reads texts into d,
// makes a what d says, and d what a is. The order is that of the document; what others
// depend on comes before them.
func table(a *App, d *Declaration, commands []string) []Setting {
	s := &a.Settings
	return append([]Setting{
		{
			"name", "name", "NAME", "`app` and its number",
			"Name shown in the console, at most 200 bytes.",
			&one[string]{kind: text, given: &d.Name, place: field(&a.Name), valid: shorter(maxNameBytes)},
		},
		{
			"description", "description", "TEXT", "empty",
			"For whoever reads it in the console, at most 2000 bytes.",
			&one[string]{kind: text, given: &d.Description, place: field(&a.Description), valid: shorter(maxDescriptionBytes)},
		},
		{
			"status", "status", "enabled|disabled|suspended", "enabled",
			"`enabled`; `disabled`: requests are answered 60016; `suspended`: requests are answered 60020.",
			&one[Status]{kind: word(Enabled, Disabled, Suspended), given: &d.Status, place: field(&a.Status)},
		},
		{
			"user_ids", "user-ids", "ascii|utf8", "ascii",
			"Characters a UserID may have. `ascii`: printable ASCII, spaces only inside; `utf8`: any text without control characters.",
			&one[UserIDs]{kind: word(ASCII, UTF8), given: &d.UserIDs, place: place[UserIDs]{
				get: func() UserIDs { return cmp.Or(s.UserIDs, ASCII) },
				set: func(u UserIDs) error { s.UserIDs = u; return nil },
			}},
		},
		{
			"admins", "admin", "ACCOUNT", "none",
			"Accounts that may call the API, besides `administrator`: the whole list, at most ten with `administrator`.",
			&list[string]{kind: text.named("UserID"), given: &d.Admins, place: place[[]string]{
				get: func() []string { return slices.Clone(a.Admins) },
				set: a.declareAdmins,
			}, valid: d.validAdmin, validAll: validAdmins},
		},
		{
			"attr_names", "attr", "SLOT=NAME", "none",
			"Attribute names by slot, `0` to `9`. Each at most 50 bytes.",
			&mapping[map[string]string, string]{kind: text.named("mapping of slots to text"), given: &d.AttrNames, place: place[map[string]string]{
				get: func() map[string]string {
					return slots(a, func(attr audience.Attribute) string { return attr.Name })
				},
				set: func(map[string]string) error { return a.declareAttributes(d) },
			}, valid: d.validAttrName},
		},
		{
			"attr_types", "attr-type", "SLOT=TYPE", "0 each",
			"Whom the attribute in a slot is about: 0 a UserID, 1 a RegistrationID. A slot listed here has a name in `attr_names`.",
			&mapping[map[string]int, int]{kind: number.named("mapping of slots to numbers"), given: &d.AttrTypes, place: place[map[string]int]{
				get: func() map[string]int {
					return slots(a, func(attr audience.Attribute) int { return int(attr.Kind) })
				},
				set: func(map[string]int) error { return nil }, // set with attr_names
			}, valid: d.validAttrType},
		},
		{
			"create_accounts", "create-accounts", "", "false",
			"Whether `set_attr` creates accounts that do not exist.",
			&one[bool]{kind: boolean, given: &d.CreateAccounts, place: field(&s.CreateAccounts)},
		},
		{
			"max_accounts", "max-accounts", "N", "0",
			"The most accounts the app may have; 0 is no limit. More are refused with 70398. Accounts that exist stay, and those of admins are made in any case; both count.",
			&one[int]{kind: number, given: &d.MaxAccounts, place: field(&s.MaxAccounts), valid: upTo(MaxAppAccounts, "a number of accounts from 0 (no limit)")},
		},
		{
			"delete_accounts", "delete-accounts", "", "true",
			"Whether `account_delete` works. If not, it is answered 71000.",
			&one[bool]{kind: boolean, given: &d.DeleteAccounts, place: place[bool]{
				get: func() bool { return !s.KeepAccounts },
				set: func(works bool) error { s.KeepAccounts = !works; return nil },
			}},
		},
		{
			"reimport_wait", "reimport-wait", "DURATION", "0s",
			"How long after its deletion an account cannot be made again, at most 92d. Until then it is refused with 70399; with 0 it can be made again at once. The hosted service waits three months.",
			&one[wording.Span]{kind: span, given: &d.ReimportWait, place: field((*wording.Span)(&s.ReimportWait)), valid: validWait},
		},
		{
			"limits", "limit", "COMMAND=N", "the limits of the API",
			"Calls per second by command, such as `timpush/remove_attr`; 0 is unlimited, more are refused with 60007. `default` is for every command not listed, `total` for all commands together (60011).",
			&mapping[Limits, int]{kind: number.named("mapping of commands to numbers"), given: &d.Limits, place: mapField(&s.Limits), valid: validLimit(commands)},
		},
		{
			"max_tags", "max-tags", "N", "1000",
			"Different tags that the app's users may have; more are refused with 90032. At most 60000; 0 is no limit of its own (65536 is the program's).",
			&one[int]{kind: number, given: &d.MaxTags, place: place[int]{
				get: s.AppTags,
				set: func(n int) error { s.MaxTags = &n; return nil },
			}, valid: upTo(MaxAppTags, "a number of different tags from 0 (no limit of its own)")},
		},
		{
			"hosts", "host", "NAME", "any",
			"Host names that requests may be sent to, without port. Others are refused with 60026.",
			&list[string]{kind: text.named("host name"), given: &d.Hosts, place: listField(&s.Hosts), valid: validHost},
		},
		{
			"addresses", "address", "ADDRESS", "any",
			"Source addresses requests may come from. Others are refused with 60021.",
			&list[netip.Prefix]{kind: network, given: &d.Addresses, place: listField(&s.Addresses)},
		},
		{
			"blocked_accounts", "blocked-account", "ACCOUNT", "none",
			"Accounts whose requests are refused with 70051.",
			&list[string]{kind: text.named("UserID"), given: &d.BlockedAccounts, place: listField(&s.BlockedAccounts), valid: UTF8.Check},
		},
		{
			"disabled_commands", "disabled-command", "COMMAND", "none",
			"Commands that are refused with 60017, such as `timpush/remove_attr`.",
			&list[string]{kind: text.named("command"), given: &d.DisabledCommands, place: listField(&s.DisabledCommands), valid: validCommand(commands)},
		},
	}, slices.Concat(pushSettings(s, d), deviceSettings(s, d))...)
}

// Declaration returns a declaration that says everything of the app but its keys.
func (a *App) Declaration() Declaration {
	d := Declaration{ID: a.ID}
	for _, s := range table(a, &d, nil) {
		s.declare()
	}
	return d
}

// slots returns something of each attribute that has a name, by slot.
func slots[T any](a *App, member func(audience.Attribute) T) map[string]T {
	all := map[string]T{}
	for slot, attr := range a.Attributes {
		if attr.Name != "" {
			all[slotName(slot)] = member(attr)
		}
	}
	return all
}
