package lsm

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/index"
)

// phone is the device of the examples in doc/storage-format.md.
func phone() *deviceRecord {
	registered := time.Unix(1_700_000_000, 0).UTC()
	return &deviceRecord{secret: hashSecret("secret"), Device: device.Device{
		Version: 3, Platform: "android", Model: "Pixel 9", System: "Android", SystemVersion: "16", SDKVersion: "8.1", PushVersion: "1.2", AppVersion: "3.4.5",
		Language: "zh-Hans", TimeZone: "Asia/Shanghai", Permission: device.Allowed, Registered: registered, LastActive: registered.Add(time.Hour),
		Tokens: []device.Token{{Certificate: 1, Kind: channel.Alert, Address: "token", Registered: registered, Refreshed: registered.Add(time.Hour)}},
	}}
}

// phones are records of all forms.
func phones() map[string]*deviceRecord {
	full := &deviceRecord{secret: hashSecret("x"), Device: device.Device{Version: 1<<32 - 1, Platform: "web", Test: true, Permission: device.Denied, Registered: time.Unix(1<<32, 0).UTC(), LastActive: time.Unix(1<<32, 0).UTC()}}
	for _, text := range full.Texts() {
		*text = strings.Repeat("x", device.MaxText)
	}
	for i := range device.MaxTokens {
		full.Tokens = append(full.Tokens, device.Token{
			Certificate: device.MaxCertificate - i, Kind: device.Kind(1 + i%6), LaID: strings.Repeat("l", i), Address: channel.Address(strings.Repeat("a", device.MaxAddress)),
			Environment: []channel.Environment{"", channel.Production, channel.Sandbox}[i%3], Topic: strings.Repeat("t", device.MaxTopic),
			Registered: time.Unix(1, 0).UTC(), Expires: time.Unix(int64(i+1), 0).UTC(),
		})
	}
	return map[string]*deviceRecord{"of the document": phone(), "empty": {secret: []byte{}}, "full": full}
}

func TestGoldenDevices(t *testing.T) {
	r := phone()
	facet := r.Facet()
	var got strings.Builder
	show := func(name string, b []byte) { fmt.Fprintf(&got, "%s\n%s", name, hex.Dump(b)) }
	show("bound", appendDevice(nil, &index.Device{Number: 301, Owner: 300, Bound: true, Facet: string(facet.Encode(nil))}))
	show("not bound", appendDevice(nil, &index.Device{Number: 301, Facet: string(facet.Encode(nil))}))
	show("record", r.encode())
	show("version", (&deviceVersion{deviceRecord: *r, ended: time.Unix(1_700_010_000, 0), owner: 300, bound: true, name: [4]byte{1, 2, 3, 4}}).encode())
	show("retired", encodeRetired([]device.Retired{{Token: r.Tokens[0], Reason: "UNREGISTERED", Task: "task", At: time.Unix(1_700_020_000, 0)}}))
	const name = "testdata/devices.golden"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("devices are\n%s\nwant\n%s", got.String(), want)
	}
}

// TestDeviceEntries: an entry is the same when it is read, and cut anywhere it is none.
func TestDeviceEntries(t *testing.T) {
	for _, want := range []index.Device{
		{Number: 7, Facet: "f"},
		{Number: 1<<32 - 2, Owner: 1<<32 - 2, Bound: true, Facet: strings.Repeat("f", 255)},
		{Owner: 0, Bound: true, Facet: "\x00\xff"},
	} {
		b := appendDevice(nil, &want)
		var got index.Device
		if err := parseDevice(bytes.Clone(b[1:]), &got); err != nil || got != want {
			t.Errorf("%+v is %+v, %v", want, got, err)
		}
		for n := range b {
			if checkEntry(b[:n], new(audience.Effect)) == nil {
				t.Errorf("%+v: %d of its %d bytes are an entry", want, n, len(b))
			}
		}
		if checkEntry(append(bytes.Clone(b), 0), new(audience.Effect)) == nil {
			t.Errorf("%+v with a byte more is an entry", want)
		}
	}
}

// TestDeviceRecords: a record is the same when it is read, and cut anywhere it is none.
func TestDeviceRecords(t *testing.T) {
	for name, want := range phones() {
		b := want.encode()
		got, err := parseDeviceRecord(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v, want %+v", name, got, err, want)
			continue
		}
		version := &deviceVersion{deviceRecord: *want, ended: time.Unix(5, 0).UTC(), owner: 1<<32 - 2, bound: true, name: [4]byte{255}}
		v := version.encode()
		if got, err := parseDeviceVersion(v); err != nil || !reflect.DeepEqual(got, version) {
			t.Errorf("a version of %s is %+v, %v, want %+v", name, got, err, version)
		}
		for n := range b {
			if _, err := parseDeviceRecord(b[:n]); err == nil {
				t.Errorf("%s: %d of its %d bytes are a record", name, n, len(b))
			}
		}
		if _, err := parseDeviceRecord(append(b, 0)); err == nil {
			t.Errorf("%s with a byte more is a record", name)
		}
	}
	list := []device.Retired{{Token: phone().Tokens[0], Reason: strings.Repeat("r", maxReason), Task: strings.Repeat("t", maxTaskID), At: time.Unix(5, 0).UTC()}}
	b := encodeRetired(list)
	if got, err := parseRetired(b); err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("retired tokens are %+v, %v, want %+v", got, err, list)
	}
	for n := range b {
		if checkRetired(numberKey(1), b[:n]) == nil {
			t.Errorf("%d of %d bytes are retired tokens", n, len(b))
		}
	}
}

// TestDeviceIsSmall: with a token of FCM a device takes at most 400 bytes in all tables.
func TestDeviceIsSmall(t *testing.T) {
	r := phone()
	r.Tokens[0].Address = channel.Address(strings.Repeat("t", 163))
	const key = 5 // table and app
	n := key + 4 + len(r.encode()) + key + hashBytes + 4
	t.Logf("%d bytes", n)
	if n > 320 {
		t.Errorf("a device takes %d bytes", n)
	}
}

// FuzzDeviceRecord: a record that can be read is the same when it is written again.
func FuzzDeviceRecord(f *testing.F) {
	for _, r := range phones() {
		if b := r.encode(); len(b) < 1000 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseDeviceRecord(b)
		if err != nil {
			return
		}
		if again, err := parseDeviceRecord(r.encode()); err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v\nis %+v when it is written again, %v", r, again, err)
		}
	})
}
