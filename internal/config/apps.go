package config

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tidings/internal/app"
	"tidings/internal/wording"
)

// appKeys returns the keys of an app in the file: its number, its keys, and what the
// table of settings holds.
func appKeys(d *app.Declaration) []key {
	keys := []key{
		{
			"sdkappid", "required",
			"Number of the app, from 1 to 4294967295. It is part of every request and of every UserSig.",
			one("number", &d.ID, sdkAppID),
		},
		{
			"secret_key", "a new random key",
			"Primary key, which UserSigs are made and verified with, 8 to 512 bytes of text. An earlier primary key stays accepted until it is removed.",
			one("text", &d.SecretKey, func(s string) (*string, error) { return &s, nil }),
		},
		{
			"secret_key" + fileSuffix, "",
			"File that holds the primary key, in place of `secret_key`. White space around the key is taken off.",
			one("path", &d.SecretKey, func(name string) (*string, error) {
				secret, err := secretFile(name)
				return &secret, err
			}),
		},
		{
			"retiring_keys", "none",
			"Older keys that are still accepted.",
			mappings(&d.Retiring, func(r *reader, at spot, n *yaml.Node, k *app.RetiringKey) {
				r.secretFields(at, n, retiringKeys(k))
			}),
		},
	}
	keys = append(keys, key{
		"app_keys", "none",
		"AppKeys that the app has besides those that commands add, each 8 to 512 bytes of text. They ship in client apps and permit only to make a device ([how](channels.md#appkeys)).",
		list("text", &d.AppKeys, text),
	})
	for _, s := range d.Table() {
		keys = append(keys, key{s.Name, s.Default, s.Doc, setting(s)})
	}
	return keys
}

// retiringKeys returns the keys of an entry of retiring_keys.
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
	const limit = 4 << 10 // far more than a key has
	data, err := readFile(name, limit)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func sdkAppID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s is not a number from 1 to 4294967295", wording.Quote(s))
	}
	return uint32(n), nil
}
