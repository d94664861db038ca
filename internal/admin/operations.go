package admin

import (
	"context"
	"encoding/json"
	"io"

	"tidings/internal/app"
	"tidings/internal/store"
	"tidings/internal/transfer"
)

// An Operation is one row of the table of what an operator can do. Whatever carries
// operations out, guards or shows them takes what it needs to know from the row.
type Operation struct {
	Name   string   // "app/create"
	Doc    string   // a sentence for whoever looks for an operation
	Effect Effect   // what it does to what is stored
	Role   Role     // what somebody must be to do it
	Logs   []string // members of the request that stand in the log; nil: it has no line there
	Stream bool     // it is a StreamOp

	run func(s *Service, ctx context.Context, in []byte, data io.Reader, out *Answer) error
}

// An Effect says what an operation does to what is stored.
type Effect int

// The effects.
const (
	Reads      Effect = iota + 1 // it changes nothing
	Repeatable                   // done twice it is as done once
	Once                         // a second time fails, or does more
)

// A Role says which operations a person may do: those of its own and of the roles before.
type Role int

// The roles. Through the control socket everybody is an owner: the permissions of the
// file guard it.
const (
	Viewer   Role = iota + 1 // looks
	Operator                 // works with users, and with a server that runs
	Owner                    // makes and changes apps, sees keys and tickets
)

// The operations, with the types of what they take and answer.
const (
	GetInfo     Op[None, Info]               = "info"
	CreateApp   Op[app.Declaration, App]     = "app/create"
	SetApp      Op[app.Declaration, App]     = "app/set"
	AppChanges  Op[app.Declaration, Changes] = "app/changes"
	AppUndone   Op[AppRequest, []string]     = "app/undone"
	ListApps    Op[None, []App]              = "app/list"
	ShowApp     Op[AppRequest, App]          = "app/show"
	SetStatus   Op[StatusRequest, App]       = "app/status"
	DeleteApp   Op[AppRequest, None]         = "app/delete"
	AddKey      Op[NewKeyRequest, Key]       = "key/add"
	ListKeys    Op[AppRequest, []Key]        = "key/list"
	RevealKeys  Op[AppRequest, []Key]        = "key/reveal"
	RetireKey   Op[RetireRequest, Key]       = "key/retire"
	RemoveKey   Op[KeyRequest, None]         = "key/remove"
	AddAdmin    Op[AccountRequest, []string] = "admin/add"
	RemoveAdmin Op[AccountRequest, []string] = "admin/remove"
	MakeSig     Op[SigRequest, Sig]          = "sig/make"

	AddCertificate     Op[NewCertificateRequest, Certificate]  = "channel/add"
	ReplaceCertificate Op[ReplaceRequest, Certificate]         = "channel/replace"
	SetCertificate     Op[SetCertificateRequest, Certificate]  = "channel/set"
	ListCertificates   Op[AppRequest, []Certificate]           = "channel/list"
	ShowCertificate    Op[CertificateRequest, Certificate]     = "channel/show"
	TestCertificate    Op[CertificateRequest, CertificateTest] = "channel/test"
	RemoveCertificate  Op[RemoveCertificateRequest, None]      = "channel/remove"
	ListDevices        Op[DevicesRequest, Devices]             = "device/list"
	ShowDevice         Op[DeviceRequest, Device]               = "device/show"
	TestDevice         Op[DeviceRequest, PushTest]             = "device/test"
	RestoreTokens      Op[RestoreRequest, Restored]            = "device/restore"
	RemoveDevice       Op[DeviceRequest, None]                 = "device/remove"
	ImportDevices      StreamOp[transfer.Chunk]                = "device/import" // answers a transfer.Result
	TryDevices         StreamOp[transfer.Chunk]                = "device/try"    // the same
	ExportDevices      StreamOp[AppRequest]                    = "device/export" // NDJSON: a line for each device
	AddAppKey          Op[NewAppKeyRequest, AppKey]            = "appkey/add"
	ListAppKeys        Op[AppRequest, []AppKey]                = "appkey/list"
	RevealAppKeys      Op[AppRequest, []AppKey]                = "appkey/reveal"
	RemoveAppKey       Op[AppKeyRequest, None]                 = "appkey/remove"

	CheckSig    Op[TicketRequest, Sig]     = "sig/check"
	ImportUsers StreamOp[transfer.Chunk]   = "users/import" // answers a transfer.Result
	TryImport   StreamOp[transfer.Chunk]   = "users/try"    // the same
	ExportUsers StreamOp[ExportRequest]    = "users/export" // NDJSON: a header and a line for each user
	ShowUser    Op[AccountRequest, User]   = "users/show"
	DeleteUsers Op[UsersRequest, Deletion] = "users/delete"
	StoreStatus Op[None, Status]           = "status"
	CheckStore  Op[None, CheckReport]      = "check"
	Checkpoint  Op[None, store.Checkpoint] = "store/checkpoint"
	BackUp      StreamOp[BackupRequest]    = "store/backup" // answers BackupLines
)

// operations is the table.
var operations = []Operation{
	row(GetInfo, Reads, Viewer, nil, "Tells which server answers.", (*Service).info),

	row(CreateApp, Once, Owner, logs("sdkappid"), "Creates an app and shows its keys.", (*Service).createApp),
	row(SetApp, Repeatable, Owner, logs("sdkappid"), "Changes the settings of an app.", (*Service).setApp),
	row(AppChanges, Reads, Owner, nil, "Reports what a declaration would change of an app.", (*Service).appChanges),
	row(AppUndone, Reads, Viewer, nil, "Names the settings of an app that the next start of the server sets back.", (*Service).appUndone),
	row(ListApps, Reads, Viewer, nil, "Lists the apps.", (*Service).listApps),
	row(ShowApp, Reads, Viewer, nil, "Shows an app with its settings.", (*Service).showApp),
	row(SetStatus, Repeatable, Operator, logs("sdkappid"), "Enables, disables or suspends an app.", (*Service).setStatus),
	row(DeleteApp, Once, Owner, logs("sdkappid"), "Deletes a disabled app with everything in it.", (*Service).deleteApp),

	row(AddKey, Once, Owner, logs("sdkappid"), "Adds a key to an app and shows it.", (*Service).addKey),
	row(ListKeys, Reads, Viewer, nil, "Lists the keys of an app, masked.", (*Service).listKeys),
	row(RevealKeys, Reads, Owner, logs("sdkappid"), "Lists the keys of an app as they are.", (*Service).revealKeys),
	row(RetireKey, Repeatable, Owner, logs("sdkappid", "key"), "Lets a key end at a time.", (*Service).retireKey),
	row(RemoveKey, Once, Owner, logs("sdkappid", "key"), "Removes a key at once.", (*Service).removeKey),

	row(AddAdmin, Repeatable, Owner, logs("sdkappid", "account"), "Makes an account an admin.", (*Service).addAdmin),
	row(RemoveAdmin, Once, Owner, logs("sdkappid", "account"), "Makes an admin an ordinary account again.", (*Service).removeAdmin),

	row(AddCertificate, Once, Owner, logs("sdkappid", "provider", "offline"), "Adds a certificate, after its credential was checked.", (*Service).addCertificate),
	row(ReplaceCertificate, Repeatable, Owner, logs("sdkappid", "certificate", "offline"), "Gives a certificate another credential, after that was checked.", (*Service).replaceCertificate),
	row(SetCertificate, Repeatable, Owner, logs("sdkappid", "certificate"), "Changes name and options of a certificate.", (*Service).setCertificate),
	row(ListCertificates, Reads, Viewer, nil, "Lists the certificates of an app, without their credentials.", (*Service).listCertificates),
	row(ShowCertificate, Reads, Viewer, nil, "Shows a certificate, without its credential.", (*Service).showCertificate),
	row(TestCertificate, Reads, Operator, nil, "Asks the provider about the credential of a certificate.", (*Service).testCertificate),
	row(RemoveCertificate, Once, Owner, logs("sdkappid", "certificate"), "Removes a certificate.", (*Service).removeCertificate),

	row(AddAppKey, Once, Owner, logs("sdkappid"), "Adds an AppKey to an app and shows it.", (*Service).addAppKey),
	row(ListAppKeys, Reads, Viewer, nil, "Lists the AppKeys of an app, masked.", (*Service).listAppKeys),
	row(RevealAppKeys, Reads, Owner, logs("sdkappid"), "Lists the AppKeys of an app as they are.", (*Service).revealAppKeys),
	row(RemoveAppKey, Once, Owner, logs("sdkappid", "key"), "Removes an AppKey at once.", (*Service).removeAppKey),

	row(MakeSig, Reads, Owner, nil, "Makes a ticket.", (*Service).makeSig),
	row(CheckSig, Reads, Viewer, nil, "Verifies a ticket as the API would.", (*Service).checkSig),

	streamRow(ImportUsers, Repeatable, Operator, logs("sdkappid"), "Imports a chunk of lines about users.", (*Service).importUsers),
	streamRow(TryImport, Reads, Operator, nil, "Tells what an import of a chunk would come to.", (*Service).tryImport),
	streamRow(ExportUsers, Reads, Operator, nil, "Exports the users of an app, all or those of an audience.", (*Service).exportUsers),

	row(ShowUser, Reads, Viewer, nil, "Shows what is known of an account.", (*Service).showUser),
	row(DeleteUsers, Once, Operator, logs("sdkappid"), "Deletes users with all that belongs to them.", (*Service).deleteUsers),

	row(ListDevices, Reads, Viewer, nil, "Lists devices of an app, all or those of an account.", (*Service).listDevices),
	row(ShowDevice, Reads, Viewer, nil, "Shows a device, with its retired tokens.", (*Service).showDevice),
	row(TestDevice, Once, Operator, logs("sdkappid", "device"), "Sends a push to one device.", (*Service).testDevice),
	row(RestoreTokens, Repeatable, Operator, logs("sdkappid", "device", "task"), "Gives retired tokens back to their devices.", (*Service).restoreTokens),
	row(RemoveDevice, Once, Operator, logs("sdkappid", "device"), "Removes a device with its account.", (*Service).removeDevice),
	streamRow(ImportDevices, Repeatable, Operator, logs("sdkappid"), "Imports a chunk of lines about devices.", (*Service).importDevices),
	streamRow(TryDevices, Reads, Operator, nil, "Tells what an import of a chunk about devices would come to.", (*Service).tryDevices),
	streamRow(ExportDevices, Reads, Owner, logs("sdkappid"), "Exports the devices of an app, with their tokens.", (*Service).exportDevices),

	row(StoreStatus, Reads, Viewer, nil, "Reports how the server and its data directory are.", (*Service).status),
	row(CheckStore, Reads, Operator, nil, "Reads everything that is stored and reports what is wrong.", (*Service).check),
	row(Checkpoint, Repeatable, Operator, logs(), "Writes a checkpoint.", (*Service).checkpoint),
	streamRow(BackUp, Once, Owner, logs("dir"), "Copies the data directory as it is at one moment.", (*Service).backUp),
}

// logs returns the members of a request that stand in the log.
func logs(members ...string) []string { return append([]string{}, members...) }

// row returns the row of an operation that answers one value.
func row[In, Out any](name Op[In, Out], effect Effect, role Role, logs []string, doc string, f func(*Service, context.Context, In) (Out, error)) Operation {
	return Operation{
		Name: string(name), Doc: doc, Effect: effect, Role: role, Logs: logs,
		run: func(s *Service, ctx context.Context, request []byte, _ io.Reader, answer *Answer) error {
			in, err := decode[In](request)
			if err != nil {
				return err
			}
			out, err := f(s, ctx, in)
			if err != nil {
				return err
			}
			return json.NewEncoder(answer).Encode(out)
		},
	}
}

// streamRow returns the row of an operation that reads or writes bytes.
func streamRow[In any](name StreamOp[In], effect Effect, role Role, logs []string, doc string, f func(*Service, context.Context, In, io.Reader, *Answer) error) Operation {
	return Operation{
		Name: string(name), Doc: doc, Effect: effect, Role: role, Logs: logs, Stream: true,
		run: func(s *Service, ctx context.Context, request []byte, data io.Reader, answer *Answer) error {
			in, err := decode[In](request)
			if err != nil {
				return err
			}
			return f(s, ctx, in, data, answer)
		},
	}
}

func decode[In any](request []byte) (in In, err error) {
	if err := json.Unmarshal(request, &in); err != nil {
		return in, &app.Error{Msg: "request: " + err.Error()}
	}
	return in, nil
}

// byName finds the rows of the table.
var byName = func() map[string]*Operation {
	m := map[string]*Operation{}
	for i := range operations {
		m[operations[i].Name] = &operations[i]
	}
	return m
}()

// Find returns the row of an operation; nil if there is none of this name.
func Find(name string) *Operation { return byName[name] }

// Operations returns the table.
func Operations() []Operation { return operations }
