package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/wording"
)

var commands = []string{"timpush/set_attr", "timpush/remove_attr"}

// load loads a file with this text ("" is none), variables and arguments. The
// file is called tidings.yaml in mistakes.
func load(t testing.TB, text string, env map[string]string, args ...string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	file := ""
	if text != "" {
		file = filepath.Join(t.TempDir(), "tidings.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	c, err := Load(flags, lookup, file, commands)
	if e, ok := errors.AsType[*Errors](err); ok {
		for i := range e.Mistakes {
			e.Mistakes[i] = strings.TrimPrefix(e.Mistakes[i], filepath.Dir(file)+"/")
		}
	}
	return c, err
}

func TestDefaults(t *testing.T) {
	want := &Config{
		Listen: "127.0.0.1:8080", MetricsListen: "127.0.0.1:8081", MetricsApps: 1000,
		Data: "./tidings-data", MemtableSize: 4 << 20, CheckpointLog: 256 << 20, CacheSize: 8 << 20,
		MaxBody: 1 << 20, MaxBodyMemory: 256 << 20, MaxInFlight: 2048,
		RequestTimeout: 3 * time.Second, BodyTimeout: 10 * time.Second,
		IdleTimeout: 75 * time.Second, ShutdownTimeout: 10 * time.Second,
		FCMURL: "https://fcm.googleapis.com", FCMTokenURL: "https://oauth2.googleapis.com/token", FCMConnections: 16, FCMRate: 10_000, FCMRamp: true, FCMTimeout: 15 * time.Second,
		LogFormat: "text", LogLevel: slog.LevelInfo, LogRequests: "all",
	}
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "{}\n", "\ufeff"} {
		got, err := load(t, text, nil)
		if err == nil {
			got.File = ""
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("file %q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	if got, err := Load(nil, os.LookupEnv, "", nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without flags: %+v, %v; want %+v", got, err, want)
	}
}

// samples are three values of each key, none of them the default, for the file
// (as YAML), the variable and the flag, with what they become.
var samples = map[string][3]struct {
	text string
	want any
}{
	"listen":               {{":1", ":1"}, {"[::1]:2", "[::1]:2"}, {"host:3", "host:3"}},
	"devices_listen":       {{":1", ":1"}, {"[::1]:2", "[::1]:2"}, {"0.0.0.0:3", "0.0.0.0:3"}},
	"metrics_listen":       {{"off", ""}, {"[::1]:2", "[::1]:2"}, {"0.0.0.0:3", "0.0.0.0:3"}},
	"metrics_apps":         {{"0", 0}, {"1", 1}, {"100000", 100_000}},
	"tls_cert":             {{pairs[0], pairs[0]}, {pairs[1], pairs[1]}, {pairs[2], pairs[2]}},
	"tls_key":              {{pairs[0], pairs[0]}, {pairs[1], pairs[1]}, {pairs[2], pairs[2]}},
	"trusted_proxies":      {{"[10.0.0.0/8, '::1']", prefixes("10.0.0.0/8", "::1/128")}, {"10.1.2.3", prefixes("10.1.2.3/32")}, {"fd00::/8, ::ffff:10.0.0.0/104", prefixes("fd00::/8", "10.0.0.0/8")}},
	"cors_origins":         {{"['*']", []string{"*"}}, {"http://a, https://B.example:8", []string{"http://a", "https://b.example:8"}}, {"http://c", []string{"http://c"}}},
	"data":                 {{"a", "a"}, {"b", "b"}, {"c", "c"}},
	"checkpoint_log":       {{"1MiB", int64(1 << 20)}, {"64 GiB", int64(64 << 30)}, {"1048577", int64(1<<20 + 1)}},
	"memtable_size":        {{"1048576", int64(1 << 20)}, {"2048 KiB", int64(2 << 20)}, {"1GiB", int64(1 << 30)}},
	"keep_log":             {{"1h", time.Hour}, {"30d", 720 * time.Hour}, {"90s", 90 * time.Second}},
	"cache_size":           {{"1MiB", int64(1 << 20)}, {"2MiB", int64(2 << 20)}, {"64GiB", int64(64 << 30)}},
	"max_body":             {{"16KiB", int64(16 << 10)}, {"20000", int64(20000)}, {"64MiB", int64(64 << 20)}},
	"max_body_memory":      {{"64MiB", int64(64 << 20)}, {"1GiB", int64(1 << 30)}, {"128MiB", int64(128 << 20)}},
	"max_connections":      {{"1", 1}, {"20000", 20000}, {"3", 3}},
	"max_in_flight":        {{"1", 1}, {"2", 2}, {"3", 3}},
	"source_limit":         {{"1", 1}, {"2", 2}, {"3", 3}},
	"request_timeout":      {{"1s", time.Second}, {"500ms", time.Second / 2}, {"1m", time.Minute}},
	"body_timeout":         {{"1s", time.Second}, {"500ms", time.Second / 2}, {"1m", time.Minute}},
	"idle_timeout":         {{"1m", time.Minute}, {"1h", time.Hour}, {"90s", 90 * time.Second}},
	"shutdown_timeout":     {{"1s", time.Second}, {"500ms", time.Second / 2}, {"1m", time.Minute}},
	"strict_usersig":       {{"false", false}, {"true", true}, {"false", false}},
	"request_id_in_body":   {{"true", true}, {"false", false}, {"true", true}},
	"demo":                 {{"true", true}, {"false", false}, {"true", true}},
	"credentials_key_file": {{"a", "a"}, {"b", "b"}, {"c", "c"}},
	"fcm_url":              {{"http://127.0.0.1:1", "http://127.0.0.1:1"}, {"https://x", "https://x"}, {"http://[::1]:3/", "http://[::1]:3/"}},
	"fcm_token_url":        {{"http://localhost/token", "http://localhost/token"}, {"https://x:8", "https://x:8"}, {"https://y/z", "https://y/z"}},
	"fcm_ca_file":          {{pairs[0], pairs[0]}, {pairs[1], pairs[1]}, {pairs[2], pairs[2]}},
	"fcm_proxy":            {{"http://p:3128", "http://p:3128"}, {"environment", "environment"}, {"socks5://a:b@p:1", "socks5://a:b@p:1"}},
	"fcm_connections":      {{"1", 1}, {"256", 256}, {"3", 3}},
	"fcm_rate":             {{"0", 0}, {"1", 1}, {"2", 2}},
	"fcm_ramp":             {{"false", false}, {"true", true}, {"false", false}},
	"fcm_timeout":          {{"10s", 10 * time.Second}, {"1m", time.Minute}, {"20s", 20 * time.Second}},
	"log_format":           {{"json", "json"}, {"text", "text"}, {"json", "json"}},
	"log_level":            {{"debug", slog.LevelDebug}, {"warn", slog.LevelWarn}, {"error", slog.LevelError}},
	"log_requests":         {{"off", "off"}, {"failed", "failed"}, {"all", "all"}},
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// field is what a Config has for a key: its field with the same name.
func field(c *Config, name string) any {
	flat := strings.ReplaceAll(name, "_", "")
	return reflect.ValueOf(c).Elem().FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, flat) }).Interface()
}

func TestPrecedence(t *testing.T) {
	for _, k := range keys(new(Config), nil) {
		if k.fileOnly {
			continue
		}
		s, ok := samples[k.name]
		if !ok {
			t.Errorf("%s has no samples", k.name)
			continue
		}
		for sources := range 8 {
			text, env, args := "", map[string]string{}, []string(nil)
			want := field(must(t, "", nil), k.name)
			if sources&1 != 0 {
				text, want = k.name+": "+s[0].text+"\n", s[0].want
			}
			if sources&2 != 0 {
				env[k.env()], want = s[1].text, s[1].want
			}
			if sources&4 != 0 {
				args, want = append(args, "--"+k.flag()+"="+s[2].text), s[2].want
			}
			switch k.name { // come in pairs
			case "tls_cert":
				args = append(args, "--tls-key="+pairs[0])
			case "tls_key":
				args = append(args, "--tls-cert="+pairs[0])
			}
			if sources == 0 {
				continue
			}
			c := must(t, text, env, args...)
			if got := field(c, k.name); !reflect.DeepEqual(got, want) {
				t.Errorf("%s from file %q, variables %v, flags %v: got %v, want %v", k.name, text, env, args, got, want)
			}
			if c.MetricsListenSet != (k.name == "metrics_listen") {
				t.Errorf("%s from file %q, variables %v, flags %v: MetricsListenSet is %v", k.name, text, env, args, c.MetricsListenSet)
			}
		}
	}
}

func must(t *testing.T, text string, env map[string]string, args ...string) *Config {
	t.Helper()
	c, err := load(t, text, env, args...)
	if err != nil {
		t.Fatalf("file %q, variables %v, flags %v: %v", text, env, args, err)
	}
	return c
}

func TestFlagsAndVariables(t *testing.T) {
	if c := must(t, "", nil, "--demo"); !c.Demo {
		t.Error("--demo without a value does not set it")
	}
	c := must(t, "", nil, "--trusted-proxies=10.0.0.1", "--trusted-proxies=10.0.0.2,10.0.0.3")
	if want := prefixes("10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"); !slices.Equal(c.TrustedProxies, want) {
		t.Errorf("a list flag given twice: %v, want %v", c.TrustedProxies, want)
	}
	c = must(t, "cors_origins: ['*']\n", nil, "--cors-origins=")
	if len(c.CORSOrigins) != 0 {
		t.Errorf("an empty list flag over the file: %v", c.CORSOrigins)
	}
	c = must(t, "data: x\n", map[string]string{"TIDINGS_DATA": ""})
	if c.Data != "x" {
		t.Errorf("an empty variable counts: data is %q", c.Data)
	}

	file := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(file, []byte("data: from-variable\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"TIDINGS_CONFIG": file}
	if c := must(t, "", env); c.Data != "from-variable" {
		t.Errorf("TIDINGS_CONFIG: data is %q", c.Data)
	}
	if c := must(t, "data: named\n", env); c.Data != "named" {
		t.Errorf("a file over TIDINGS_CONFIG: data is %q", c.Data)
	}
}

func TestUnknownVariables(t *testing.T) {
	got := UnknownVariables([]string{
		"TIDINGS_LISTEN=x", "TIDINGS_CONFIG=x", "TIDINGS_TEST_SEED=1", "TIDINGS=x", "HOME=x", "TIDINGS_NONE=", "tidings_listen=x",
		"TIDINGS_TLS_KYE=secret", "TIDINGS_SERVICE_HOST=10.0.0.1", "TIDINGS_APPS=x", "TIDINGS_LISEN=x=y",
	})
	want := []string{
		"TIDINGS_APPS is no setting", "TIDINGS_LISEN is no setting, did you mean TIDINGS_LISTEN?", "TIDINGS_SERVICE_HOST is no setting",
		"TIDINGS_TLS_KYE is no setting, did you mean TIDINGS_TLS_KEY?",
	}
	if !slices.Equal(got, want) {
		t.Errorf("UnknownVariables = %q, want %q", got, want)
	}
}

// A tidings.yaml that lies about is not read.
func TestNoImplicitFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("tidings.yaml", []byte("data: surprise\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := must(t, "", nil); c.Data != "./tidings-data" {
		t.Errorf("data is %q", c.Data)
	}
}

func TestApps(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("\n key-in-a-file \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := must(t, `
apps:
  - sdkappid: 1400000001
    name: Shop
    description: |
      two
      lines
    status: disabled
    secret_key: 0123456789
    retiring_keys:
      - {secret_key: older-key, ends: 2027-01-31}
      - {secret_key_file: `+secret+`, ends: 2027-01-31T18:00:00+08:00}
      - secret_key: 'oldest-key'
    admins: [one, "2"]
    attr_names: {0: city, "1": plan}
    attr_types: {1: 1}
    create_accounts: true
    max_accounts: 1000
    user_ids: utf8
    delete_accounts: false
    reimport_wait: 30d
    limits:
      timpush/set_attr: 0
      default: 5
      total: "50"
    hosts: [push.example.com]
    addresses: [10.0.0.0/8, 192.0.2.7]
    blocked_accounts: [mallory]
    disabled_commands: [timpush/remove_attr]
    app_keys: [an-app-key]
    push_gap: 500ms
    lifetime: 7d
    channel_order: [fcm, apns]
    device_origins: ["https://Shop.example.com"]
  - sdkappid: 0001400000002
    secret_key_file: `+secret+`
    admins: []
`, nil)
	want := []app.Declaration{
		{
			ID: 1400000001, Name: new("Shop"), Description: new("two\nlines\n"), Status: new(app.Disabled),
			SecretKey: new("0123456789"),
			Retiring: []app.RetiringKey{
				{SecretKey: "older-key", Ends: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
				{SecretKey: "key-in-a-file", Ends: time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)},
				{SecretKey: "oldest-key"},
			},
			Admins: []string{"one", "2"}, AttrNames: map[string]string{"0": "city", "1": "plan"}, AttrTypes: map[string]int{"1": 1},
			CreateAccounts: new(true), MaxAccounts: new(1000), UserIDs: new(app.UTF8), DeleteAccounts: new(false), ReimportWait: new(wording.Span(720 * time.Hour)),
			Limits: app.Limits{"timpush/set_attr": 0, "default": 5, "total": 50},
			Hosts:  []string{"push.example.com"}, Addresses: prefixes("10.0.0.0/8", "192.0.2.7/32"),
			BlockedAccounts: []string{"mallory"}, DisabledCommands: []string{"timpush/remove_attr"}, AppKeys: []string{"an-app-key"},
			PushGap: new(wording.Span(500 * time.Millisecond)), Lifetime: new(wording.Span(7 * 24 * time.Hour)),
			ChannelOrder: []channel.Provider{channel.FCM, channel.APNs}, DeviceOrigins: []string{"https://shop.example.com"},
		},
		{ID: 1400000002, SecretKey: new("key-in-a-file"), Admins: []string{}},
	}
	if !reflect.DeepEqual(c.Apps, want) {
		t.Errorf("got %+v\nwant %+v", c.Apps, want)
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	short, good, long := write("short", "abc\n"), write("good", "0123456789"), write("long", strings.Repeat("x", 5000))

	tests := []struct {
		name string
		file string
		env  map[string]string
		args []string
		want string
	}{
		{
			name: "providers",
			file: "fcm_url: http://fcm.example.com\nfcm_token_url: https://u:p@x\nfcm_ca_file: " + good + "\nfcm_timeout: 5s\nfcm_connections: 0\n",
			env:  map[string]string{"TIDINGS_FCM_PROXY": "user:hidden-password@proxy"},
			want: `tidings.yaml:1: fcm_url: "http://fcm.example.com" is not a URL such as https://fcm.googleapis.com; http is for loopback addresses only
tidings.yaml:2: fcm_token_url: holds a user name or a password, which no provider takes
tidings.yaml:3: fcm_ca_file: "` + good + `" holds no certificate in PEM form
tidings.yaml:4: fcm_timeout: "5s" is not from 10s to 1m0s
tidings.yaml:5: fcm_connections: "0" is not a number from 1 to 256
TIDINGS_FCM_PROXY: is not the URL of a proxy such as http://proxy.example.com:3128, nor environment`,
		},
		{
			name: "everything at once, in order",
			file: "max_in_flight: many\nlisen: :80\napps:\n  - sdkappid: 1\n    limits:\n      timpush/set_attr: fast\nlog_level: loud\n",
			env:  map[string]string{"TIDINGS_LISTEN": "8080", "TIDINGS_DEMO": "yes"},
			args: []string{"--idle-timeout=10s", "--trusted-proxies=10.0.0.1/8,x"},
			want: `tidings.yaml:1: max_in_flight: "many" is not a number from 1 to 1000000
tidings.yaml:2: unknown key lisen, did you mean listen?
tidings.yaml:6: apps[0].limits.timpush/set_attr: "fast" is not a number
tidings.yaml:7: log_level: "loud" is none of debug, info, warn, error
TIDINGS_LISTEN: "8080" is not an address such as 127.0.0.1:8080 or :8080
--trusted-proxies[0]: "10.0.0.1/8" is an address in a network, the network is 10.0.0.0/8
--trusted-proxies[1]: "x" is not an address or network such as 192.0.2.7 or 10.0.0.0/8
--idle-timeout: "10s" is not from 1m0s to 1h0m0s
TIDINGS_DEMO: "yes" is neither true nor false`,
		},
		{
			name: "kinds of values",
			file: "listen: [a]\ndata: {a: b}\ntrusted_proxies: 10.0.0.1\nmax_body:\ncors_origins: [[x], ~]\ndemo: !!bool true\ndata: x\n? [a]\n: b\nlog_format: &x json\nlog_level: *x\n",
			want: `tidings.yaml:1: listen: is a list, must be one value
tidings.yaml:2: data: is a mapping, must be one value
tidings.yaml:3: trusted_proxies: is one value, must be a list
tidings.yaml:4: max_body: has no value
tidings.yaml:5: cors_origins[0]: is a list, must be one value
tidings.yaml:5: cors_origins[1]: has no value
tidings.yaml:6: demo: has a YAML tag, leave it out; a text that begins with ! needs quotes
tidings.yaml:7: data is already set in line 2
tidings.yaml:8: has a key that is not a plain text
tidings.yaml:11: log_level: is an alias (*name), write the value itself; a text that begins with * needs quotes`,
		},
		{
			name: "values",
			file: "listen: ':http'\nmetrics_listen: 8081\ndata: ''\nmax_body: 1MB\nmemtable_size: 10GiB\ncache_size: 1\nmax_in_flight: 0\nrequest_timeout: 3\ncors_origins: [example.com, 'https://a/b', 'ftp://a']\nlog_requests: 'some'\ntrusted_proxies: ['fe80::1%eth0']\nsource_limit: 99999999999999999999\n",
			want: `tidings.yaml:1: listen: ":http" is not an address such as 127.0.0.1:8080 or :8080
tidings.yaml:2: metrics_listen: "8081" is not an address such as 127.0.0.1:8080 or :8080
tidings.yaml:3: data: is empty
tidings.yaml:4: max_body: "1MB" is not a size: write a number of bytes, or one with KiB, MiB or GiB
tidings.yaml:5: memtable_size: "10GiB" is not from 1MiB to 1GiB
tidings.yaml:6: cache_size: "1" is not from 1MiB to 64GiB
tidings.yaml:7: max_in_flight: "0" is not a number from 1 to 1000000
tidings.yaml:8: request_timeout: "3" is not a duration such as 500ms, 3s, 1m30s or 30d
tidings.yaml:9: cors_origins[0]: "example.com" is not an origin such as https://console.example.com (without a path)
tidings.yaml:9: cors_origins[1]: "https://a/b" is not an origin such as https://console.example.com (without a path)
tidings.yaml:9: cors_origins[2]: "ftp://a" is not an origin such as https://console.example.com (without a path)
tidings.yaml:10: log_requests: "some" is none of all, failed, off
tidings.yaml:11: trusted_proxies[0]: "fe80::1%eth0" is not an address or network such as 192.0.2.7 or 10.0.0.0/8
tidings.yaml:12: source_limit: "99999999999999999999" is not a number from 0 to 10000000`,
		},
		{
			name: "apps",
			file: `apps:
- sdkappid: 0
- name: nameless
- sdkappid: 7
  secret_key: short
  secret-key: a-very-secret-thing
  retiring_keys:
  - ends: tomorrow
  - secret_key: also
    until: 2027-01-01
  admins: [ok, " no", [x]]
  attr_names: {0: a, 1: [b], 11: c}
  attr_types: {1: 0, 2: 1, 0: x}
  limits:
    timpush/push: 5
    total: -1
- sdkappid: 8
  max_accounts: many
  reimport_wait: 93d
- sdkappid: 9
  max_accounts: -1
  reimport_wait: soon
- sdkappid: "7"
  status: gone
- just a text
`,
			want: `tidings.yaml:2: apps[0].sdkappid: "0" is not a number from 1 to 4294967295
tidings.yaml:3: apps[1].sdkappid: must be a number from 1 to 4294967295
tidings.yaml:5: apps[2].secret_key: must have 8 to 512 bytes, has 5
tidings.yaml:6: apps[2]: unknown key secret-key, did you mean secret_key?
tidings.yaml:8: apps[2].retiring_keys[0].ends: "tomorrow" is not a time such as 2027-01-31 or 2027-01-31T18:00:00+08:00
tidings.yaml:8: apps[2].retiring_keys[0].secret_key: must have 8 to 512 bytes, has 0
tidings.yaml:9: apps[2].retiring_keys[1].secret_key: must have 8 to 512 bytes, has 4
tidings.yaml:10: apps[2].retiring_keys[1]: unknown key until
tidings.yaml:11: apps[2].admins[2]: is a list, must be one value
tidings.yaml:11: apps[2].admins[1]: " no" begins or ends with a space
tidings.yaml:12: apps[2].attr_names.1: is a list, must be one value
tidings.yaml:12: apps[2].attr_names.11: "11" is not a slot from 0 to 9
tidings.yaml:13: apps[2].attr_types.0: "x" is not a number
tidings.yaml:13: apps[2].attr_types.2: has no name in attr_names
tidings.yaml:15: apps[2].limits.timpush/push: is no command; commands are written like "timpush/remove_attr"
tidings.yaml:16: apps[2].limits.total: -1 is not a number of calls per second from 0 (unlimited) to 10000000
tidings.yaml:18: apps[3].max_accounts: "many" is not a number
tidings.yaml:19: apps[3].reimport_wait: 93d is not a time in whole seconds from 0 (none) to 92d
tidings.yaml:21: apps[4].max_accounts: -1 is not a number of accounts from 0 (no limit) to 1000000000
tidings.yaml:22: apps[4].reimport_wait: "soon" is not a duration such as 500ms, 3s, 1m30s or 30d
tidings.yaml:23: apps[5].sdkappid: 7 is already declared in line 4
tidings.yaml:24: apps[5].status: "gone" is none of enabled, disabled, suspended
tidings.yaml:25: apps[6]: is one value, must be a mapping`,
		},
		{
			name: "secrets in files",
			file: "apps:\n- {sdkappid: 1, secret_key_file: /nowhere/at-all}\n- {sdkappid: 2, secret_key_file: " + short + "}\n- {sdkappid: 3, secret_key_file: " + long + "}\n- {sdkappid: 4, secret_key_file: " + dir + "}\n- sdkappid: 5\n  secret_key: long-enough\n  secret_key_file: " + good + "\n",
			want: `tidings.yaml:2: apps[0].secret_key_file: the file cannot be read: no such file or directory
tidings.yaml:3: apps[1].secret_key_file: must have 8 to 512 bytes, has 3
tidings.yaml:4: apps[2].secret_key_file: the file cannot be read: is larger than 4096 bytes
tidings.yaml:5: apps[3].secret_key_file: is not the name of a file
tidings.yaml:8: apps[4].secret_key_file: is set together with secret_key, keep one of them`,
		},
		{
			name: "a secret with an unquoted star",
			file: "apps:\n- sdkappid: 1\n  secret_key: *hidden\n",
			want: "tidings.yaml:3: is an alias (*name) of nothing; a text that begins with * needs quotes",
		},
		{
			name: "a secret with the space missing",
			file: "apps:\n- {sdkappid: 1, secret_key:hidden}\n",
			want: "tidings.yaml:2: apps[0]: unknown key (not shown, it has other characters than a key)",
		},
		{
			name: "an app variable is none", env: map[string]string{"TIDINGS_APPS": "x"}, args: []string{"--listen="},
			want: `--listen: "" is not an address such as 127.0.0.1:8080 or :8080`,
		},
		{
			name: "a key without its certificate", env: map[string]string{"TIDINGS_TLS_KEY": pairs[0]},
			want: "TIDINGS_TLS_KEY: needs tls_cert as well",
		},
		{
			name: "a certificate without its key", file: "data: x\ntls_cert: /nowhere\n",
			want: "tidings.yaml:2: tls_cert: needs tls_key as well\ntidings.yaml:2: tls_cert: \"/nowhere\": no such file or directory",
		},
		{
			name: "a directory as certificate", args: []string{"--tls-cert=testdata", "--tls-key=" + pairs[0]},
			want: `--tls-cert: "testdata": is a directory`,
		},
		{name: "two documents", file: "data: x\n---\ndata: y\n", want: "tidings.yaml:2: a second document begins here, there can be only one"},
		{name: "a list of settings", file: "- data: x\n", want: "tidings.yaml:1: is a list, must be a mapping"},
		{name: "not UTF-8", file: "data: \xff\n", want: "tidings.yaml: is not UTF-8 text"},
		{name: "UTF-16", file: "\xff\xfed\x00a\x00", want: "tidings.yaml: is not UTF-8 text"},
		{name: "a control character", file: "data: x\nlisten: \x00\n", want: "tidings.yaml:2: holds a control character"},
		{name: "a tab", file: "data: x\n\tlisten: y\n", want: "tidings.yaml:2: is not YAML: found a tab character that violates indentation"},
		{name: "a tab at the start", file: "\tlisten: y\n", want: "tidings.yaml:1: is not YAML: found a tab, or another character that cannot begin a value"},
		{name: "an open list", file: "data: [\n", want: "tidings.yaml:2: is not YAML: did not find expected node content"},
		{name: "a merge", file: "<<: {data: x}\n", want: "tidings.yaml:1: unknown key (not shown, it has other characters than a key)"},
		{name: "too large", file: strings.Repeat("#", maxFileBytes+1), want: "tidings.yaml: is larger than 16777216 bytes"},
		{name: "an unreadable file", env: map[string]string{"TIDINGS_CONFIG": "/nowhere.yaml"}, want: "/nowhere.yaml: no such file or directory"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := load(t, test.file, test.env, test.args...)
			if err == nil || err.Error() != test.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, test.want)
			}
			if c != nil {
				t.Error("a wrong configuration is returned")
			}
		})
	}
}

// Bombs are small files that some YAML readers make large.
func TestBombs(t *testing.T) {
	var lol strings.Builder
	lol.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&lol, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	lol.WriteString("trusted_proxies: *a29\n")
	bombs := map[string]string{
		"aliases":       lol.String(),
		"itself":        "apps: &a [*a]\n",
		"depth":         "apps: " + strings.Repeat("[", 100_000) + "\n",
		"depth of keys": "apps: " + strings.Repeat("{a: ", 9_000) + "\n",
		"unknown keys":  strings.Join(manyKeys(20_000), ""),
	}
	for name, text := range bombs {
		start := time.Now()
		_, err := load(t, text, nil)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if n := len(err.Error()); n > (maxShown+1)*600 {
			t.Errorf("%s: the error has %d bytes", name, n)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

func manyKeys(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("k%d: 1\n", i)
	}
	return all
}

// Ten thousand apps are what one installation is made for.
func TestManyApps(t *testing.T) {
	var b strings.Builder
	b.WriteString("apps:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "- sdkappid: %d\n  name: app %d\n  secret_key: %064x\n  attr_names: {0: city, 1: plan}\n  admins: [one, two]\n  limits: {default: 10}\n", i+1, i, i)
	}
	if c := must(t, b.String(), nil); len(c.Apps) != 10_000 {
		t.Errorf("%d apps", len(c.Apps))
	}
}
