package config

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tidings/internal/app"
)

// appKeys are the keys of an app in the file: the members of app.Declaration,
// and secret_key_file.
func appKeys(d *app.Declaration) []key {
	return []key{
		{
			"sdkappid", "required",
			"Number of the app, from 1 to 4294967295. It is part of every request and of every UserSig.",
			one("number", &d.ID, sdkAppID),
		},
		{
			"name", "empty",
			"Name shown in the console, at most 200 bytes.",
			one("text", &d.Name, ptr(text)),
		},
		{
			"description", "empty",
			"For whoever reads it in the console, at most 2000 bytes.",
			one("text", &d.Description, ptr(text)),
		},
		{
			"status", "enabled",
			"`enabled`; `disabled`: requests are answered 60016; `suspended`: requests are answered 60020.",
			one("text", &d.Status, ptr(as[app.Status])),
		},
		{
			"secret_key", "a new random key",
			"Primary key, which UserSigs are made and verified with, 8 to 512 bytes of text. An earlier primary key stays accepted until it is removed.",
			one("text", &d.SecretKey, ptr(text)),
		},
		{
			"secret_key" + fileSuffix, "",
			"File that holds the primary key, in place of `secret_key`. White space around the key is taken off.",
			one("path", &d.SecretKey, ptr(secretFile)),
		},
		{
			"retiring_keys", "none",
			"Older keys that are still accepted.",
			mappings(&d.Retiring, func(r *reader, at spot, n *yaml.Node, k *app.RetiringKey) {
				r.secretFields(at, n, retiringKeys(k))
			}),
		},
		{
			"admins", "none",
			"Accounts that may call the API, besides `administrator`: the whole list, at most ten with `administrator`.",
			list("UserID", &d.Admins, text),
		},
		{
			"attr_names", "none",
			"Attribute names by slot, `0` to `9`. Each at most 50 bytes.",
			table("mapping of slots to text", &d.AttrNames, text),
		},
		{
			"attr_types", "0 each",
			"Whom the attribute in a slot is about: 0 a UserID, 1 a RegistrationID. A slot listed here has a name in `attr_names`.",
			table("mapping of slots to numbers", &d.AttrTypes, integer),
		},
		{
			"create_accounts", "false",
			"Whether `set_attr` creates accounts that do not exist.",
			one("bool", &d.CreateAccounts, ptr(boolean)),
		},
		{
			"max_accounts", "0",
			"The most accounts the app may have; 0 is no limit. More are refused with 70398. Accounts that exist stay, and those of admins are made in any case; both count.",
			one("number", &d.MaxAccounts, ptr(integer)),
		},
		{
			"user_ids", "ascii",
			"Characters a UserID may have. `ascii`: printable ASCII, spaces only inside; `utf8`: any text without control characters.",
			one("text", &d.UserIDs, ptr(as[app.UserIDs])),
		},
		{
			"delete_accounts", "true",
			"Whether `account_delete` works. If not, it is answered 71000.",
			one("bool", &d.DeleteAccounts, ptr(boolean)),
		},
		{
			"reimport_wait", "0",
			"How long after its deletion an account cannot be made again, at most 92d. Until then it is refused with 70399; with 0 it can be made again at once. The hosted service waits three months.",
			one("duration", &d.ReimportWait, ptr(anyDuration)),
		},
		{
			"limits", "the limits of the API",
			"Calls per second by command, such as `timpush/remove_attr`; 0 is unlimited, more are refused with 60007. `default` is for every command not listed, `total` for all commands together (60011).",
			table("mapping of commands to numbers", &d.Limits, integer),
		},
		{
			"max_tags", "1000",
			"Different tags that the app's users may have; more are refused with 90032. At most 60000; 0 is no limit of its own (65536 is the program's).",
			one("number", &d.MaxTags, ptr(integer)),
		},
		{
			"hosts", "any",
			"Host names that requests may be sent to, without port. Others are refused with 60026.",
			list("host name", &d.Hosts, text),
		},
		{
			"addresses", "any",
			"Source addresses requests may come from. Others are refused with 60021.",
			list("CIDR", &d.Addresses, prefix),
		},
		{
			"blocked_accounts", "none",
			"Accounts whose requests are refused with 70051.",
			list("UserID", &d.BlockedAccounts, text),
		},
		{
			"disabled_commands", "none",
			"Commands that are refused with 60017, such as `timpush/remove_attr`.",
			list("command", &d.DisabledCommands, text),
		},
	}
}

// retiringKeys are the keys of an entry of retiring_keys.
func retiringKeys(k *app.RetiringKey) []key {
	return []key{
		{
			"secret_key", "required",
			"The key, 8 to 512 bytes of text.",
			one("text", &k.SecretKey, text),
		},
		{
			"secret_key" + fileSuffix, "",
			"File that holds the key, in place of `secret_key`.",
			one("path", &k.SecretKey, secretFile),
		},
		{
			"ends", "never",
			"When it stops being accepted: `2027-01-31T18:00:00+08:00`, or `2027-01-31` for the first moment of that day in UTC.",
			one("time", &k.Ends, ending),
		},
	}
}

// declarations reads the list of apps and checks each as a whole.
func declarations(into *[]app.Declaration, commands []string) value {
	firstLine := map[uint32]int{}
	v := mappings(into, func(r *reader, at spot, n *yaml.Node, d *app.Declaration) {
		r.secretFields(at, n, appKeys(d))
		if n.Kind != yaml.MappingNode {
			return
		}
		checked := *d
		if checked.UserIDs == nil {
			checked.UserIDs = new(app.ASCII) // an app with others says so in the file
		}
		for _, e := range checked.Check(commands) {
			if in := r.locate(at, e.Field); !r.bad[in.path] {
				r.wrong(in, "%s", e.Msg)
			}
		}
		in := r.locate(at, "sdkappid")
		if line, taken := firstLine[d.ID]; !taken {
			firstLine[d.ID] = in.line
		} else if d.ID != 0 {
			r.wrong(in, "%d is already declared in line %d", d.ID, line)
		}
	})
	v.fileOnly = true
	return v
}

// mappings is a list of mappings.
func mappings[T any](into *[]T, read func(r *reader, at spot, n *yaml.Node, v *T)) value {
	return value{typ: "mapping", list: true, read: func(r *reader, at spot, n *yaml.Node) {
		if !r.is(yaml.SequenceNode, at, n) {
			return
		}
		all := make([]T, len(n.Content))
		for i, item := range n.Content {
			read(r, r.item(at, i, item), item, &all[i])
		}
		*into = all
	}}
}

// fileSuffix makes of the name of a secret the key that names a file with it.
const fileSuffix = "_file"

// secretFields reads a mapping that has a secret_key or secret_key_file.
func (r *reader) secretFields(at spot, n *yaml.Node, keys []key) {
	set := r.fields(at, n, keys)
	if _, both := set["secret_key"]; both {
		if in, ok := set["secret_key"+fileSuffix]; ok {
			r.wrong(in, "is set together with secret_key, keep one of them")
		}
	}
}

// secretFile reads a secret. Its errors do not hold the name, in case that is
// the secret.
func secretFile(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", reason(err))
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not the name of a file")
	}
	const most = 4 << 10 // far more than a key has
	data, err := readFile(name, most)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func sdkAppID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s is not a number from 1 to 4294967295", shown(s))
	}
	return uint32(n), nil
}
