<?php
// Answers each line of [reader, password, hash] on the standard input: whether they fit.

const LARAVEL = '/usr/share/php/Illuminate/Hashing/autoload.php';

function fits(string $reader, string $password, string $hash): bool
{
    return match ($reader) {
        'php' => password_verify($password, $hash),
        'laravel' => laravel($password, $hash),
        'wordpress' => wordpress($password, $hash),
        'crypt' => hash_equals($hash, crypt($password, $hash)),
        'hex' => hash_equals(strtolower($hash), digest($password, strlen($hash))),
    };
}

// Its own hasher, which may be told to refuse what PHP does not call bcrypt.
function laravel(string $password, string $hash): bool
{
    require_once LARAVEL;
    try {
        return (new Illuminate\Hashing\BcryptHasher(['verify' => true]))->check($password, $hash);
    } catch (RuntimeException) {
        return false;
    }
}

// What its log-in does with a password from the form: slashes, trim, digest, bcrypt.
function wordpress(string $password, string $hash): bool
{
    $seen = trim(addslashes($password));
    $digest = base64_encode(hash_hmac('sha384', $seen, 'wp-sha384', true));
    return str_starts_with($hash, '$wp') && password_verify($digest, substr($hash, 3));
}

function digest(string $password, int $length): string
{
    return match ($length) {
        32 => md5($password),
        40 => sha1($password),
        64 => hash('sha256', $password),
        128 => hash('sha512', $password),
    };
}

while (($line = fgets(STDIN)) !== false) {
    echo json_encode(fits(...json_decode($line, flags: JSON_THROW_ON_ERROR))), "\n";
}
