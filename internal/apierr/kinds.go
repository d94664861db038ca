package apierr

// The kinds that this server returns, in code order. The contract's numbers are
// written nowhere else in the server; package client has its own copy for users.
var (
	// REST layer: spec/conventions.md, 3.1.
	BadHTTP         = &Kind{60002, "HTTP parse Error", Never}
	BadJSONCommon   = &Kind{60003, "request body is not a JSON object", Never}
	RateLimited     = &Kind{60007, "this command is called too often", SlowDown}
	Timeout         = &Kind{60008, "service timeout or request format error, please check and try again", Later}
	UnknownCommand  = &Kind{60009, "no such service or command", Never}
	AppRateLimited  = &Kind{60011, "this app calls too often", SlowDown}
	NoSDKAppID      = &Kind{60012, "sdkappid is missing in the URL", Never}
	AccountType     = &Kind{60015, "body account invalid", Never}
	AppDisabled     = &Kind{60016, "the app is disabled", Never}
	CommandDisabled = &Kind{60017, "this command is switched off for the app", Never}
	Overloaded      = &Kind{60018, "too many requests, try again later", SlowDown}
	AppSuspended    = &Kind{60020, "the app is suspended", Never}
	AddressRefused  = &Kind{60021, "the source address is not permitted", Never}
	BadQuery        = &Kind{60025, "sdkappid, identifier, usersig or contenttype in the URL is wrong", Never}
	WrongSite       = &Kind{60026, "the host does not belong to the app's site", Never}

	// Accounts and tickets: spec/conventions.md, 3.2.
	TicketExpired      = &Kind{70001, "usersig has expired", Never}
	TicketEmpty        = &Kind{70002, "usersig is empty", Never}
	TicketMalformed    = &Kind{70003, "usersig is malformed", Never}
	TicketForged       = &Kind{70009, "usersig was not made with a key of this app", Never}
	TicketIdentifier   = &Kind{70013, "identifier is not the one in the usersig", Never}
	TicketSDKAppID     = &Kind{70014, "sdkappid is not the one in the usersig", Never}
	NoKey              = &Kind{70016, "the app has no key to verify a usersig with", Never}
	UnknownApp         = &Kind{70020, "sdkappid does not exist", Never}
	TicketThrottled    = &Kind{70050, "too many failed verifications, try again after one minute", AfterMinute}
	AccountBlocked     = &Kind{70051, "the account is block-listed", Never}
	TicketInvalidated  = &Kind{70052, "usersig is no longer valid, issue a new one", Never}
	UnknownAccount     = &Kind{70107, "account does not exist", Never}
	AccountTimeout     = &Kind{70169, "internal timeout, try again", Later}
	AccountLimit       = &Kind{70398, "account count limit reached", Never}
	ReimportTooSoon    = &Kind{70399, "deleted UserID may not be re-imported yet", Never}
	BadAccountField    = &Kind{70402, "illegal parameter", Never}
	NotAdminAccounts   = &Kind{70403, "the caller is not an admin of the app", Never}
	AccountInternal    = &Kind{70500, "internal error, try again", Later}
	DeletionNotEnabled = &Kind{71000, "account deletion is switched off for the app", Never}
	ProfileTooLong     = &Kind{40601, "profile value is over 500 bytes", Never}

	// Push: spec/conventions.md, 3.3; spec/timpush-api.md, 13.1.
	BadJSON           = &Kind{90001, "Fail to Parse json data of body, Please check it", Never}
	BadMessageFormat  = &Kind{90002, "MsgBody does not follow the message format", Never}
	NoReceivers       = &Kind{90003, "To_Account is missing, or not a list of accounts", Never}
	BadMsgRandom      = &Kind{90005, "MsgRandom is missing or no integer", Never}
	BadMsgBody        = &Kind{90007, "MsgBody is missing or no array", Never}
	UnknownSender     = &Kind{90008, "From_Account does not exist", Never}
	NotAdmin          = &Kind{90009, "the caller is not an admin of the app", Never}
	BadElement        = &Kind{90010, "an element of MsgBody is malformed", Never}
	TooManyReceivers  = &Kind{90011, "more than 500 accounts in To_Account", Never}
	TooManyAccounts   = &Kind{90018, "too many accounts in the request", Never}
	TagTooLong        = &Kind{90020, "tag is longer than 50 bytes", Never}
	TagTwice          = &Kind{90022, "the same tag is in TagsOr and TagsAnd", Never}
	PushTooSoon       = &Kind{90024, "pushes must be more than one second apart", SlowDown}
	BadMsgLifeTime    = &Kind{90026, "MsgLifeTime is no number of seconds up to 7 days", Never}
	TooManyTags       = &Kind{90032, "too many tags", Never}
	InvalidAttribute  = &Kind{90033, "invalid attribute", Never}
	WrongAccountKind  = &Kind{90035, "attribute or tag is not for this account type", Never}
	TagsAndAttributes = &Kind{90039, "tag and attribute conditions exclude each other", Never}
	EmptyTag          = &Kind{90040, "a tag is empty", Never}
	BadOfflinePush    = &Kind{90043, "OfflinePushInfo is malformed", Never}
	PushDisabled      = &Kind{90045, "push is not enabled for the app", Never}
	PushQuotaUsed     = &Kind{90047, "the pushes of the day are used up", Never}
	UnknownTask       = &Kind{90049, "no such task", Never}
	PushBodyTooLarge  = &Kind{90056, "request body is over 10 K", Never}
	DataIDTooLong     = &Kind{90057, "DataId is over 64 bytes", Never}
	PushTimeout       = &Kind{90994, "internal timeout, try again", Later}
	Internal          = &Kind{91000, "internal error, try again", Later}
	BodyTooLarge      = &Kind{93000, "request body is too large", Never}

	// Our own commands, /v4/tidings: spec/README.md.
	BadWhere      = &Kind{95001, "Where is not a valid expression", Never}
	WhereTooLarge = &Kind{95002, "the expression is too large", Never}
	PageExpired   = &Kind{95003, "the page token has expired, start again with the first page", Never}

	KeyReused       = &Kind{95010, "the IdempotencyKey was used for another request", Never}
	PlanChanged     = &Kind{95011, "the push is not the one that was previewed", Never}
	TooManyTasks    = &Kind{95012, "the app has too many unfinished tasks", SlowDown}
	TaskEnded       = &Kind{95013, "the task has ended", Never}
	PreviewReplaced = &Kind{95014, "a newer preview of the same caller has begun", Never}

	// Devices, /v1/devices, and the commands about them: doc/devices.md.
	BadAppKey            = &Kind{95020, "the AppKey is none of the app", Never}
	NotYourDevice        = &Kind{95021, "the device takes this from whoever knows its secret, or from its user", Never}
	TooManyRegistrations = &Kind{95022, "too many devices are registered, try again later", SlowDown}
	RegistrationIDTaken  = &Kind{95023, "the RegistrationID is a UserID", Never}
	TooManyDevices       = &Kind{95024, "the app has as many devices as it may have", Never}
)

// Kinds returns every kind in code order, for doc/errors.md and for callers that look
// up the kind of a code.
func Kinds() []*Kind {
	return []*Kind{
		ProfileTooLong,
		BadHTTP, BadJSONCommon, RateLimited, Timeout, UnknownCommand, AppRateLimited, NoSDKAppID,
		AccountType, AppDisabled, CommandDisabled, Overloaded, AppSuspended, AddressRefused, BadQuery, WrongSite,
		TicketExpired, TicketEmpty, TicketMalformed, TicketForged, TicketIdentifier, TicketSDKAppID, NoKey, UnknownApp,
		TicketThrottled, AccountBlocked, TicketInvalidated, UnknownAccount, AccountTimeout, AccountLimit,
		ReimportTooSoon, BadAccountField, NotAdminAccounts, AccountInternal, DeletionNotEnabled,
		BadJSON, BadMessageFormat, NoReceivers, BadMsgRandom, BadMsgBody, UnknownSender, NotAdmin, BadElement, TooManyReceivers,
		TooManyAccounts, TagTooLong, TagTwice, PushTooSoon, BadMsgLifeTime, TooManyTags, InvalidAttribute, WrongAccountKind,
		TagsAndAttributes, EmptyTag, BadOfflinePush, PushDisabled, PushQuotaUsed, UnknownTask, PushBodyTooLarge,
		DataIDTooLong, PushTimeout, Internal, BodyTooLarge,
		BadWhere, WhereTooLarge, PageExpired,
		KeyReused, PlanChanged, TooManyTasks, TaskEnded, PreviewReplaced,
		BadAppKey, NotYourDevice, TooManyRegistrations, RegistrationIDTaken, TooManyDevices,
	}
}
