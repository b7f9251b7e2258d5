"""What a person is told about a portrait, in Indonesian and English."""

from __future__ import annotations

from contract.sample_quality import Advice

NO_FACE = Advice("Wajah tidak terlihat. Lihat ke kamera.", "No face is seen. Look at the camera.")
MORE_FACES = Advice("Hanya satu orang di depan kamera.", "Only one person before the camera.")
EYES = Advice("Buka mata dan lihat ke kamera, tanpa kacamata.", "Open your eyes and look at the camera, no glasses.")
NEARER = Advice("Majulah sedikit ke kamera.", "Move a little nearer to the camera.")
FURTHER = Advice("Mundurlah sedikit dari kamera.", "Move a little away from the camera.")
UPRIGHT = Advice("Tegakkan kepala.", "Hold your head upright.")
MIDDLE = Advice("Geser ke tengah gambar.", "Move to the middle of the picture.")
SEAT_HEIGHT = Advice("Sesuaikan tinggi kursi atau kamera.", "Adjust the height of the chair or the camera.")
CUT_OFF = Advice(
    "Foto kartu akan terpotong. Geser ke tengah dan mundur sedikit.",
    "The card's photo would be cut off. Move to the middle and a little back.",
)
MORE_LIGHT = Advice("Wajah terlalu gelap. Tambah cahaya dari depan.", "The face is too dark. Add light from the front.")
LESS_LIGHT = Advice("Wajah terlalu terang. Kurangi cahaya.", "The face is too bright. Reduce the light.")
FLAT_LIGHT = Advice(
    "Wajah terlalu datar atau berkabut. Bersihkan lensa dan perbaiki cahaya.",
    "The face is flat or hazy. Clean the lens and improve the light.",
)
EVEN_LIGHT = Advice(
    "Cahaya pada wajah tidak rata. Hadapkan kedua sisi ke cahaya.",
    "The light on the face is uneven. Turn both sides to the light.",
)
STILL = Advice("Gambar kabur. Duduk diam.", "The picture is blurred. Sit still.")
PLAIN = Advice("Latar belakang harus polos.", "The background must be plain.")
WHITE_BALANCE = Advice(
    "Warna wajah tidak wajar. Atur keseimbangan putih kamera atau ganti lampu.",
    "The colour of the face is not natural. Set the camera's white balance, or change the lamp.",
)
NO_COLOUR = Advice(
    "Gambar tidak berwarna. Setel kamera ke warna.", "The picture has no colour. Set the camera to colour."
)
LESS_COMPRESSION = Advice(
    "Gambar terlalu dimampatkan. Naikkan mutu gambar kamera.",
    "The picture is compressed too much. Raise the camera's picture quality.",
)
