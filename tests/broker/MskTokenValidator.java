import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/** Takes what Amazon MSK takes, as far as that can be told without AWS: not whether the signature is right. */
public class MskTokenValidator implements AuthenticateCallbackHandler {
    private static final DateTimeFormatter DATE = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'");

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
    }

    @Override
    public void close() {
    }

    @Override
    public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (!(callback instanceof OAuthBearerValidatorCallback)) {
                throw new UnsupportedCallbackException(callback);
            }
            OAuthBearerValidatorCallback asked = (OAuthBearerValidatorCallback) callback;
            try {
                asked.token(token(asked.tokenValue()));
            } catch (RuntimeException refused) {
                asked.error("invalid_token: " + refused.getMessage(), null, null);
            }
        }
    }

    private static OAuthBearerToken token(String value) {
        URI url = URI.create(new String(Base64.getUrlDecoder().decode(value), StandardCharsets.UTF_8));
        Map<String, String> query = new HashMap<>();
        for (String pair : url.getRawQuery().split("&")) {
            String[] parts = pair.split("=", 2);
            query.put(parts[0], URLDecoder.decode(parts[1], StandardCharsets.UTF_8));
        }
        need("the host", "kafka.eu-west-1.amazonaws.com".equals(url.getHost()));
        need("Action", "kafka-cluster:Connect".equals(query.get("Action")));
        need("X-Amz-Algorithm", "AWS4-HMAC-SHA256".equals(query.get("X-Amz-Algorithm")));
        need("X-Amz-Signature", query.getOrDefault("X-Amz-Signature", "").length() == 64);
        String[] scope = query.getOrDefault("X-Amz-Credential", "").split("/", 2);
        need("X-Amz-Credential", scope[1].endsWith("/eu-west-1/kafka-cluster/aws4_request"));
        need("the user", "AKIAEXAMPLE".equals(scope[0]));
        Instant signed = LocalDateTime.parse(query.get("X-Amz-Date"), DATE).toInstant(ZoneOffset.UTC);
        Instant ends = signed.plusSeconds(Long.parseLong(query.get("X-Amz-Expires")));
        need("its time", Instant.now().isBefore(ends));
        return new OAuthBearerToken() {
            @Override
            public String value() {
                return value;
            }

            @Override
            public Set<String> scope() {
                return Set.of();
            }

            @Override
            public long lifetimeMs() {
                return ends.toEpochMilli();
            }

            @Override
            public String principalName() {
                return scope[0];
            }

            @Override
            public Long startTimeMs() {
                return signed.toEpochMilli();
            }
        };
    }

    private static void need(String what, boolean right) {
        if (!right) {
            throw new IllegalArgumentException(what + " is not what it is to be");
        }
    }
}
