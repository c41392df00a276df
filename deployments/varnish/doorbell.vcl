vcl 4.1;
# Varnish (6.0 or newer) as the cache in front of Doorbell: what public feeds answer is kept here and shared, so that a crowd that
# refetches on one signal costs the APIs one request. Everything else (sockets, writes, private feeds, long polls) passes through.
#
#   varnishd -a :80 -f /etc/varnish/doorbell.vcl -s malloc,1g -p thread_pool_min=200
#
# What to change is marked CHANGE. tests/cdn runs this very file, with other addresses, with crowds and with what must not be kept.
# There is nothing to purge or ban: pinned URLs name versions, so what they answer doesn't become wrong; the others live for a
# second. Varnish speaks plain HTTP: for TLS put hitch, HAProxy or nginx in front.
#
# Doorbell tells shared caches more than browsers, by CDN-Cache-Control (RFC 9213). Varnish doesn't know that header by itself;
# vcl_backend_response below takes from it how long an answer is fresh (max-age), how much longer it may be served while a new one is
# fetched (stale-while-revalidate), and how much longer when that fails (stale-if-error).

import directors;
import std;

# Asked every second, so that a process that is about to stop gets nothing new.
probe ready {
    .url = "/readyz";
    .interval = 1s;
    .timeout = 900ms;
    .window = 3;
    .threshold = 2;
    .initial = 2;
}

# CHANGE: the APIs and the gateways. A long poll is held for 30 s at most.
backend api_1 { .host = "api-1"; .port = "8080"; .probe = ready; .connect_timeout = 2s; .first_byte_timeout = 60s; }
backend api_2 { .host = "api-2"; .port = "8080"; .probe = ready; .connect_timeout = 2s; .first_byte_timeout = 60s; }
backend gateway_1 { .host = "gateway-1"; .port = "8080"; .probe = ready; .connect_timeout = 2s; }
backend gateway_2 { .host = "gateway-2"; .port = "8080"; .probe = ready; .connect_timeout = 2s; }

sub vcl_init {
    new apis = directors.round_robin();
    apis.add_backend(api_1);
    apis.add_backend(api_2);
    new gateways = directors.round_robin();
    gateways.add_backend(gateway_1);
    gateways.add_backend(gateway_2);
}

sub vcl_recv {
    if (req.restarts == 0) {
        # Nothing of this is a client's to say.
        unset req.http.Doorbell-Stale;
        unset req.http.Doorbell-Failed;
        # Doorbell tells by these whether a page is of its own origin. Varnish has put the client at the end of X-Forwarded-For.
        set req.http.X-Forwarded-Host = req.http.Host;
        set req.http.X-Forwarded-Proto = "http";   # CHANGE: "https" when TLS ends in front of Varnish
    }
    # How stale an answer may be, after vcl_hit or vcl_synth has sent the request back here.
    if (req.http.Doorbell-Failed) {
        set req.grace = 365d;       # what the object itself allows still holds
    } elsif (req.http.Doorbell-Stale) {
        set req.grace = 0s;
    }
    if (req.url == "/readyz") {
        return (synth(404));    # for whoever balances or restarts the servers, who asks each by its own address
    }
    if (req.url ~ "^/v1/signals($|\?)") {
        set req.backend_hint = gateways.backend();
        return (pipe);          # WebSocket and SSE: bytes go to and fro as they come
    }
    set req.backend_hint = apis.backend();
    # Long polls are held for up to 30 s. Piped, each takes one thread and not two, and an API hears when its client leaves.
    if ((req.url ~ "^/v1/feeds/[^/?]+/changes\?" && req.url ~ "[?&]wait=") || req.url ~ "^/v1/poll($|\?)") {
        return (pipe);
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # Who says who they are gets an answer of their own.
    if (req.http.Authorization || req.http.Cookie) {
        return (pass);
    }
    # Only what Doorbell lets caches hold: a snapshot or delta with since, at_least and limit in this order and nothing else (a
    # `wait`, a foreign parameter, another order: no). The query is a part of the key. A cache that leaves it out would
    # give everybody the same page; clients notice that and say so.
    if (req.url !~ "^/v1/feeds/[A-Za-z0-9._~@:-]+(\?(at_least=[0-9a-z~-]+)?(&?limit=[0-9]+)?)?$" &&
        req.url !~ "^/v1/feeds/[A-Za-z0-9._~@:-]+/changes(\?(since=[0-9a-z~-]+)?(&?at_least=[0-9a-z~-]+)?(&?limit=[0-9]+)?)?$") {
        return (pass);
    }
    return (hash);
}

sub vcl_pipe {
    # Without this Varnish would take a socket's handshake for an ordinary request.
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = "Upgrade";
    } else {
        set bereq.http.Connection = "close";    # what comes after it on this connection must go through VCL again
    }
}

sub vcl_hash {
    hash_data(req.url);         # not the host: all names of this server lead to the same feeds
    return (lookup);
}

sub vcl_hit {
    # Stale for longer than stale-while-revalidate: good only if there is nothing better. So ask for that, and wait for it.
    if (obj.ttl < 0s && !req.http.Doorbell-Failed &&
        obj.ttl + std.duration(obj.http.Doorbell-Revalidate, 0s) < 0s && std.healthy(req.backend_hint)) {
        set req.http.Doorbell-Stale = "1";
        return (restart);
    }
}

sub vcl_backend_fetch {
    unset bereq.http.Doorbell-Failed;
}

sub vcl_backend_response {
    # No API could answer, and there is something stale: that stays.
    if (beresp.status >= 500 && (bereq.is_bgfetch || bereq.http.Doorbell-Stale)) {
        return (abandon);
    }
    unset beresp.http.Doorbell-Revalidate;
    set beresp.ttl = 0s;
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if ((beresp.status == 200 || beresp.status == 404) && !bereq.uncacheable && !beresp.http.Set-Cookie &&
        beresp.http.CDN-Cache-Control ~ "max-age=[0-9]" && beresp.http.CDN-Cache-Control !~ "no-store|no-cache|private") {
        set beresp.ttl = std.duration(regsub(beresp.http.CDN-Cache-Control, "^(.*[, ])?max-age=([0-9]+).*$", "\2s"), 0s);
        if (beresp.http.CDN-Cache-Control ~ "stale-while-revalidate=[0-9]") {
            set beresp.http.Doorbell-Revalidate = regsub(beresp.http.CDN-Cache-Control, "^.*stale-while-revalidate=([0-9]+).*$", "\1s");
            set beresp.grace = std.duration(beresp.http.Doorbell-Revalidate, 0s);
        }
        if (beresp.http.CDN-Cache-Control ~ "stale-if-error=[0-9]") {
            # The longer of the two; vcl_hit tells them apart.
            if (std.duration(regsub(beresp.http.CDN-Cache-Control, "^.*stale-if-error=([0-9]+).*$", "\1s"), 0s) > beresp.grace) {
                set beresp.grace = std.duration(regsub(beresp.http.CDN-Cache-Control, "^.*stale-if-error=([0-9]+).*$", "\1s"), 0s);
            }
        }
        set beresp.keep = 60s;      # for asking again with its ETag
    }
    if (beresp.ttl <= 0s) {
        # Not to be kept. For a second those who ask the same don't queue behind each other.
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;
    }
    return (deliver);
}

sub vcl_deliver {
    unset resp.http.Doorbell-Revalidate;
    unset resp.http.Via;
    unset resp.http.X-Varnish;
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}

sub vcl_backend_error {
    if (bereq.is_bgfetch || bereq.http.Doorbell-Stale) {
        return (abandon);
    }
}

sub vcl_synth {
    # The better answer that vcl_hit wanted isn't to be had: serve the stale one, as stale-if-error allows.
    if (resp.status == 503 && req.http.Doorbell-Stale && !req.http.Doorbell-Failed) {
        set req.http.Doorbell-Failed = "1";
        return (restart);
    }
    # In Doorbell's form, so that clients say the same whoever failed.
    set resp.http.Content-Type = "application/problem+json";
    set resp.http.Cache-Control = "no-store";
    set resp.http.CDN-Cache-Control = "no-store";
    if (resp.status == 503) {
        set resp.http.Retry-After = "1";
    }
    synthetic({"{"status":"} + resp.status + {","title":""} + resp.reason + {"""} + "}");
    return (deliver);
}
