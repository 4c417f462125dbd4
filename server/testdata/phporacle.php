<?php
// Reads a JSON list of questions and answers them as a shop does: a hash, null where it refuses to make one, or a verdict.
// Passwords are base64.
require '/usr/share/php/Symfony/Component/PasswordHasher/autoload.php';

use Symfony\Component\PasswordHasher\Exception\InvalidPasswordException;
use Symfony\Component\PasswordHasher\Hasher\NativePasswordHasher;

$answers = [];
foreach (json_decode(stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR) as $q) {
    $password = base64_decode($q['password'], true);
    if (isset($q['hash'])) {
        $answers[] = (new NativePasswordHasher())->verify($q['hash'], $password);
    } elseif (isset($q['options'])) { // PHP alone, which knows neither limit nor replacement
        $answers[] = password_hash($password, $q['algorithm'], $q['options']);
    } else {
        try {
            $answers[] = (new NativePasswordHasher($q['time'], $q['memory'], $q['cost'], $q['algorithm']))->hash($password);
        } catch (InvalidPasswordException $e) {
            $answers[] = null;
        }
    }
}
echo json_encode($answers, JSON_THROW_ON_ERROR);
