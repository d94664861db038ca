// Package config turns the configuration file, the environment and the flags of
// the server into one checked Config.
//
// Every key is an entry of the table in keys; its flag (--metrics-listen), its
// variable (TIDINGS_METRICS_LISTEN), its place in the YAML file
// (metrics_listen) and its section in doc/configuration.md come from there.
package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tidings/internal/app"
	"tidings/internal/wording"
)

// Config is what an operator has chosen. A Config is checked and never changes.
type Config struct {
	File          string // that was read; empty if there was none
	SecretsInFile bool   // the file holds a secret_key

	Listen           string // host:port
	DevicesListen    string // host:port; empty: client apps call at Listen
	MetricsListen    string // host:port; empty is off
	MetricsListenSet bool   // false: MetricsListen is the default, and another port will do
	MetricsApps      int    // with more apps than this there are no figures by app
	TLSCert          string // PEM file; empty with TLSKey: no TLS
	TLSKey           string // PEM file
	TrustedProxies   []netip.Prefix
	CORSOrigins      []string // lower case; "*" is any

	Data          string // directory
	MemtableSize  int64  // bytes
	CheckpointLog int64  // bytes
	KeepLog       time.Duration
	CacheSize     int64 // bytes

	MaxBody         int64 // bytes
	MaxBodyMemory   int64 // bytes
	MaxInFlight     int   // requests
	MaxConnections  int   // 0: what the limit of open files allows
	SourceLimit     int   // requests per second and source address; 0 is unlimited
	RequestTimeout  time.Duration
	BodyTimeout     time.Duration
	IdleTimeout     time.Duration
	ShutdownTimeout time.Duration
	StrictUserSig   bool
	RequestIDInBody bool

	CredentialsKeyFile string // empty: in Data
	FCMURL             string
	FCMTokenURL        string
	FCMCAFile          string // PEM file; empty: the authorities of the system alone
	FCMProxy           string // URL, may hold a password; empty is none, "environment" as the variables say
	FCMConnections     int
	FCMRate            int // messages a second; 0 is no limit
	FCMRamp            bool
	FCMTimeout         time.Duration

	LogFormat   string // text, json
	LogLevel    slog.Level
	LogRequests string // all, failed, off

	Demo bool
	Apps []app.Declaration // in the order of the file, each passes Declaration.Check
}

// A key is one thing that can be set: at the top level of the configuration, in
// an app, or in a retiring key of an app.
type key struct {
	name string // as in the file
	def  string // default, as it would be written in a variable; empty if there is none
	doc  string // for operators, in Markdown; the first sentence is the help of the flag
	value
}

func (k key) flag() string { return strings.ReplaceAll(k.name, "_", "-") }
func (k key) env() string  { return envPrefix + strings.ToUpper(k.name) }

const envPrefix = "TIDINGS_"

// keys returns the keys of the configuration, in the order of its documentation. Reading a
// key sets its field of c. Commands are those that the limits of an app may name.
func keys(c *Config, commands []string) []key {
	return []key{
		{
			"listen", "127.0.0.1:8080",
			"Where the API answers. `:8080` listens on all addresses of the machine, `0.0.0.0:8080` on all IPv4 ones.",
			one("address", &c.Listen, address),
		},
		{
			"devices_listen", "",
			"Where client apps call, the paths below `/v1`. By default they call where the API is. With an address of its own, `/v1` and the health probes are served there and nothing else, and the API need not be reachable from the internet. It has the same certificate.",
			one("address", &c.DevicesListen, address),
		},
		{
			"tls_cert", "",
			"Certificate chain for HTTPS, a PEM file. Set `tls_cert` and `tls_key` together; with neither, the server speaks plain HTTP and belongs behind a proxy that ends TLS. Files that change are read again without a restart ([how](operating.md#tls-or-a-proxy)).",
			one("path", &c.TLSCert, text),
		},
		{
			"tls_key", "",
			"Private key of the certificate, a PEM file.",
			one("path", &c.TLSKey, text),
		},
		{
			"trusted_proxies", "",
			"Proxies whose `X-Forwarded-For` is believed. The address it names is then the source address of the request, for `source_limit`, for the `addresses` of an app and in the log.",
			list("CIDR", &c.TrustedProxies, wording.ParseNetwork),
		},
		{
			"cors_origins", "",
			"Web origins whose pages may call the API from a browser. Written `https://console.example.com`; `*` is every origin. A page that calls the API holds an admin's UserSig, so this is for internal tools.",
			list("origin", &c.CORSOrigins, wording.ParseOrigin),
		},
		{
			"metrics_listen", "127.0.0.1:8081",
			"Where metrics are served. `off` switches it off. Whoever reaches the address can read them, so one that is not loopback belongs to a private network. [Profiles](operating.md#profiles) are there too if the address is loopback. If this key is not set and the default port is taken, a free one is used; if it is set, a port that is taken stops the start.",
			one("address", &c.MetricsListen, addressOrOff),
		},
		{
			"metrics_apps", "1000",
			"Apps that the metrics tell apart. A server with more of them gives no figures by app, only those of all together; 0 is none. Each app has about four lines in the metrics. From 0 to 100000.",
			one("number", &c.MetricsApps, number(0, 100_000)),
		},

		{
			"data", "./tidings-data",
			"Directory that holds everything the server stores. It is made if it does not exist. One server at a time can use it.",
			one("path", &c.Data, notEmpty),
		},
		{
			"memtable_size", "4MiB",
			"Memory for recent changes of records that are not kept in memory, such as nicknames, before they move to a file. From 1MiB to 1GiB.",
			one("size", &c.MemtableSize, size(1<<20, 1<<30)),
		},
		{
			"checkpoint_log", "256MiB",
			"Bytes of log after which the server writes a checkpoint, what a start reads instead of the log before it. It waits longer while half of the last checkpoint is larger than this. More makes fewer checkpoints and a longer start after a crash. From 1MiB to 64GiB.",
			one("size", &c.CheckpointLog, size(1<<20, 64<<30)),
		},
		{
			"keep_log", "0s",
			"Time for which the server keeps parts of the log that it needs no more, in `kept-log/` of the data directory, `0s` is none. With them a backup can be restored to any second since it was made ([how](operating.md#to-a-second-after-the-backup)). What is erased stays in them for this long too. Up to 365d.",
			one("duration", &c.KeepLog, duration(0, 365*24*time.Hour)),
		},
		{
			"cache_size", "8MiB",
			"Memory for blocks read from table files. From 1MiB to 64GiB.",
			one("size", &c.CacheSize, size(1<<20, 64<<30)),
		},

		{
			"max_body", "1MiB",
			"Largest request body. A larger one is refused with 93000 or 60008; some commands have a limit of their own. From 16KiB to 64MiB.",
			one("size", &c.MaxBody, size(16<<10, 64<<20)),
		},
		{
			"max_body_memory", "256MiB",
			"Memory for the bodies of all requests together, as they come and as they are decoded. One app gets a quarter, and no less than the largest body takes. What there is no room for is refused with 60018. From 64MiB to 64GiB.",
			one("size", &c.MaxBodyMemory, size(64<<20, 64<<30)),
		},
		{
			"max_connections", "0",
			"Connections to the API at the same time. More are closed as they come. With `devices_listen` half of them are for client apps. One source address gets a quarter, a trusted proxy all. 0 is as many as the limit of open files allows, less 1160 that the store and the operator may need, and at most 16384; an idle connection takes some 20 KiB of memory.",
			one("number", &c.MaxConnections, number(0, 1_000_000)),
		},
		{
			"max_in_flight", "2048",
			"Requests worked on at the same time. One app gets a quarter, and no fewer than 64. More are refused with 60018. Half as many requests of client apps are worked on besides.",
			one("number", &c.MaxInFlight, number(1, 1_000_000)),
		},
		{
			"source_limit", "0",
			"Requests per second from one source address, 0 is unlimited. More are refused with 60018. Set `trusted_proxies` first if the server is behind a proxy, or all clients share one limit.",
			one("number", &c.SourceLimit, number(0, app.MaxLimit)),
		},
		{
			"request_timeout", "3s",
			"Time to work on one request. One that takes longer is answered with the timeout code of its family: 70169, 90994 or 60008. From 100ms to 1m.",
			one("duration", &c.RequestTimeout, duration(100*time.Millisecond, time.Minute)),
		},
		{
			"body_timeout", "10s",
			"Time a client may take to send a request. From 100ms to 10m.",
			one("duration", &c.BodyTimeout, duration(100*time.Millisecond, 10*time.Minute)),
		},
		{
			"idle_timeout", "75s",
			"Time a connection without a request is kept open. From 1m, which clients of the API rely on, to 1h.",
			one("duration", &c.IdleTimeout, duration(time.Minute, time.Hour)),
		},
		{
			"shutdown_timeout", "10s",
			"Time that requests get to finish when the server is told to stop. From 100ms to 10m.",
			one("duration", &c.ShutdownTimeout, duration(100*time.Millisecond, 10*time.Minute)),
		},
		{
			"strict_usersig", "false",
			"Refuses what some clients send in a UserSig and its signature does not cover: a `TLS.ver` other than `2.0`, numbers written as text, and a `+` of standard base64 that is not percent-encoded. By default these are accepted.",
			one("bool", &c.StrictUserSig, wording.ParseBool),
		},
		{
			"request_id_in_body", "false",
			"Puts `RequestId` into every answer. The header `X-Request-Id` is always sent.",
			one("bool", &c.RequestIDInBody, wording.ParseBool),
		},

		{
			"credentials_key_file", "",
			"File with the key that the credentials of providers are sealed with, 64 hexadecimal digits. Without this key it is `credentials.key` in the data directory, which is made if it does not exist ([how](channels.md#the-key-of-credentials)).",
			one("path", &c.CredentialsKeyFile, text),
		},
		{
			"fcm_url", "https://fcm.googleapis.com",
			"Where FCM takes messages. Only for tests, and for gateways of your own. `http` is accepted for loopback addresses only.",
			one("URL", &c.FCMURL, providerURL),
		},
		{
			"fcm_token_url", "https://oauth2.googleapis.com/token",
			"Where Google gives access tokens for service accounts. Only for tests, and for gateways of your own; what a service account names itself does not count.",
			one("URL", &c.FCMTokenURL, providerURL),
		},
		{
			"fcm_ca_file", "",
			"Authorities to trust for FCM besides those of the system, a PEM file. A gateway or proxy that inspects TLS needs it.",
			one("path", &c.FCMCAFile, authorities),
		},
		{
			"fcm_proxy", "",
			"Proxy that connections to Google go through, such as `http://proxy.example.com:3128`; `environment` is what `HTTPS_PROXY` and `NO_PROXY` say.",
			one("URL", &c.FCMProxy, proxyURL),
		},
		{
			"fcm_connections", "16",
			"The most connections to FCM at once, of each certificate. From 1 to 256.",
			one("number", &c.FCMConnections, number(1, 256)),
		},
		{
			"fcm_rate", "10000",
			"Messages a second that FCM is sent with one certificate, 0 is no limit. Google allows a project 600000 a minute; set the share of this server if others send too.",
			one("number", &c.FCMRate, number(0, app.MaxLimit)),
		},
		{
			"fcm_ramp", "true",
			"Grows from nothing to `fcm_rate` within a minute, as Google asks for. Switch it off for tests only.",
			one("bool", &c.FCMRamp, wording.ParseBool),
		},
		{
			"fcm_timeout", "15s",
			"Time that FCM gets to answer a request. From 10s, which Google asks for, to 1m.",
			one("duration", &c.FCMTimeout, duration(10*time.Second, time.Minute)),
		},

		{
			"log_format", "text",
			"Form of the log on standard error: `text` or `json`.",
			one("text|json", &c.LogFormat, choice("text", "json")),
		},
		{
			"log_level", "info",
			"Least important lines that are logged: `debug`, `info`, `warn` or `error`.",
			one("debug|info|warn|error", &c.LogLevel, level),
		},
		{
			"log_requests", "all",
			"Requests that get a line in the log: `all`, `failed` or `off`.",
			one("all|failed|off", &c.LogRequests, choice("all", "failed", "off")),
		},

		{
			"demo", "false",
			"Starts with an app to try the API with. Not for production.",
			one("bool", &c.Demo, wording.ParseBool),
		},
		{
			"apps", "",
			"Apps that must exist, see [Apps](#apps). Only in the file. An app that is not listed stays as it is.",
			declarations(&c.Apps, commands),
		},
	}
}

// AddFlags adds a flag for every key that can be set by a flag. The caller adds the flag
// that names the file, and passes its value to Load.
func AddFlags(flags *pflag.FlagSet) {
	for _, k := range keys(new(Config), nil) {
		if k.fileOnly {
			continue
		}
		usage, _, _ := strings.Cut(k.doc, ". ")
		usage = strings.TrimSuffix(strings.ReplaceAll(usage, "`", ""), ".")
		f := flags.VarPF(&flagText{text: k.def, typ: k.typ, list: k.list}, k.flag(), "", usage)
		if k.typ == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// flagText keeps the text of a flag for Load, which reports all mistakes at once.
type flagText struct {
	text string
	typ  string
	list bool
	set  bool
}

// String returns the text so far. A list that was given twice is joined.
func (f *flagText) String() string { return f.text }

// Type returns the word for the value in the help.
func (f *flagText) Type() string { return f.typ }

// Set sets the text, which may be any.
func (f *flagText) Set(text string) error {
	if f.list && f.set {
		text = f.text + "," + text
	}
	f.text, f.set = text, true
	return nil
}

// Load returns the configuration of defaults, file, environment and flags, of which a later
// source wins over an earlier one. If file is empty, TIDINGS_CONFIG names the file, or there
// is none. Flags may be nil, and need not have all flags. Commands are those that limits and
// disabled_commands of an app may name. All mistakes are returned together, as *Errors.
func Load(flags *pflag.FlagSet, lookupEnv func(string) (string, bool), file string, commands []string) (*Config, error) {
	c := new(Config)
	all := keys(c, commands)
	r := newReader()
	for _, k := range all {
		if k.def != "" {
			k.read(r, spot{source: "default of " + k.name}, textNode(k.def, k.list))
		}
	}

	if file == "" {
		file, _ = lookupEnv(envPrefix + "CONFIG")
	}
	set := map[string]spot{} // where the value that counts is written
	if file != "" {
		set = r.file(file, all)
		c.File, c.SecretsInFile = file, r.hasSecret()
	}
	for _, k := range all {
		if k.fileOnly {
			continue
		}
		if text, _ := lookupEnv(k.env()); text != "" {
			set[k.name] = spot{source: k.env()}
			k.read(r, set[k.name], textNode(text, k.list))
		}
		if flags == nil {
			continue
		}
		if f := flags.Lookup(k.flag()); f != nil && f.Changed {
			set[k.name] = spot{source: "--" + k.flag()}
			k.read(r, set[k.name], textNode(f.Value.String(), k.list))
		}
	}
	_, c.MetricsListenSet = set["metrics_listen"]
	c.checkTLS(r, set)
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// UnknownVariables returns the variables that look like settings and are none, of an
// environment as os.Environ returns it, a sentence each. They are no mistakes: others may
// have made them, as Kubernetes does for a service named tidings.
func UnknownVariables(environ []string) (unknown []string) {
	all := slices.DeleteFunc(keys(new(Config), nil), func(k key) bool { return k.fileOnly })
	for _, v := range environ {
		name, text, _ := strings.Cut(v, "=")
		rest, ours := strings.CutPrefix(name, envPrefix)
		known := rest == "CONFIG" || strings.HasPrefix(rest, "TEST_") || slices.ContainsFunc(all, func(k key) bool { return k.env() == name })
		if !ours || known || text == "" {
			continue
		}
		hint := ""
		if near := nearest(strings.ToLower(rest), all); near != "" {
			hint = ", did you mean " + key{name: near}.env() + "?"
		}
		unknown = append(unknown, oneLine(name+" is no setting"+hint))
	}
	slices.Sort(unknown)
	return unknown
}

// Errors holds all mistakes of a configuration.
type Errors struct {
	Mistakes []string // a line each, with the place; without secrets
}

// maxShown is the most mistakes that Error lists.
const maxShown = 100

func (e *Errors) Error() string {
	n := min(len(e.Mistakes), maxShown)
	s := strings.Join(e.Mistakes[:n], "\n")
	if more := len(e.Mistakes) - n; more > 0 {
		s += "\nand " + itoa(more) + " more"
	}
	return s
}
