"""Names the generated payments are made of: people of several regions, merchants, banks' UPI handles.

A person's name comes with the Latin letters its UPI id is made of.
"""

from __future__ import annotations

from typing import Final

Name = tuple[str, str]
"""As written, and in plain Latin letters."""

_NORTH: Final = (
    "Aarav Aditi Ananya Arjun Deepak Gaurav Harpreet Ishaan Jyoti Kabir Kiran Manish Meera Neha Nikhil Pooja Priya "
    "Rahul Ritu Rohan Sandeep Shreya Simran Sunita Tanvi Vikram Vivek Yash Zoya Imran Fatima Ayesha Gurpreet Manpreet",
    "Agarwal Bansal Bhatia Chauhan Chopra Dhillon Gill Gupta Jain Kapoor Khan Khanna Kohli Malhotra Mehta Mishra "
    "Pandey Qureshi Rajput Saxena Sharma Singh Srivastava Thakur Tiwari Tripathi Verma Yadav",
)
_SOUTH: Final = (
    "Aishwarya Anjali Aravind Bhavana Divya Ganesh Gayathri Harish Karthik Kavya Lakshmi Mahesh Mohammed Nandini "
    "Padma Prakash Rajesh Ramya Revathi Sai Sandhya Shalini Srinivas Suresh Swathi Thomas Vidya Vijay Vishnu Yamini",
    "Achari Balakrishnan Gowda Hegde Iyer Iyengar Kamath Krishnan Kumar Kurian Menon Murthy Naidu Nair Pillai Rajan "
    "Raman Rao Reddy Sastry Shetty Subramanian Swamy Varghese Varma Venkatesan",
)
_EAST_AND_WEST: Final = (
    "Abhijit Amit Anirban Arpita Bishakha Debasish Farhan Hetal Ila Jigar Ketan Lalrinsanga Madhuri Mayuri Nirav "
    "Parth Prasenjit Rekha Riya Rutuja Sachin Sayali Shubham Sneha Soumya Subhash Swapnil Tejas Urvashi Zubin",
    "Banerjee Bhattacharya Borah Chakraborty Chatterjee D'Souza Das Desai Deshpande Dutta Fernandes Gaikwad Ghosh "
    "Jadhav Joshi Kulkarni Lyngdoh Mistry Mukherjee Naik Patel Patil Pawar Pereira Ralte Sen Shah Shinde Wadia",
)

REGIONS: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = tuple(
    (tuple(given.split()), tuple(family.split())) for given, family in (_NORTH, _SOUTH, _EAST_AND_WEST)
)
"""Given names and family names that go together."""

OTHER_SCRIPTS: Final[tuple[Name, ...]] = (
    ("आरव शर्मा", "aarav sharma"),
    ("प्रिया वर्मा", "priya verma"),
    ("सुनीता देवी", "sunita devi"),
    ("राजेश कुलकर्णी", "rajesh kulkarni"),
    ("अनन्या मिश्रा", "ananya mishra"),
    ("விக்னேஷ் சுப்பிரமணியன்", "vignesh subramanian"),
    ("கார்த்திக் ராஜன்", "karthik rajan"),
    ("மீனாட்சி ஐயர்", "meenakshi iyer"),
    ("శ్రీనివాస్ రెడ్డి", "srinivas reddy"),
    ("లక్ష్మీ నాయుడు", "lakshmi naidu"),
    ("ಸುರೇಶ್ ಗೌಡ", "suresh gowda"),
    ("അഞ്ജലി മേനോൻ", "anjali menon"),
    ("অনির্বাণ চট্টোপাধ্যায়", "anirban chatterjee"),
    ("હેતલ પટેલ", "hetal patel"),
    ("ਹਰਪ੍ਰੀਤ ਸਿੰਘ", "harpreet singh"),
    ("فاطمہ قریشی", "fatima qureshi"),
    ("Śrīnivāsa Rāo", "srinivasa rao"),
    ("Lakṣmī Nārāyaṇ", "lakshmi narayan"),
    ("Kṛṣṇa Mūrti", "krishna murthy"),
    ("José Fernandes", "jose fernandes"),
    ("Anaïs D’Souza", "anais dsouza"),
)

MERCHANTS: Final[tuple[Name, ...]] = (
    ('Sharma & Sons, "The Sweet House"', "sharmasweets"),
    ("Annapurna Stores, Karol Bagh", "annapurna"),
    ('Hotel "Saravana" Veg, T. Nagar', "saravanaveg"),
    ("Patel Brothers, Cloth & Sarees", "patelcloth"),
    ('"Chai Point", MG Road', "chaipoint"),
    ("Mehta Medicals, 24 Hours", "mehtamedicals"),
    ("D'Souza's Bakery", "dsouzabakery"),
    ("Café Śānti, Fort Kochi", "cafeshanti"),
    ("श्री गणेश किराना", "ganeshkirana"),
    ("முருகன் இட்லி கடை", "muruganidli"),
    ("Reddy Petrol Bunk", "reddypetrol"),
    ("Ghosh Fish Centre", "ghoshfish"),
    ("Singh Auto Spares", "singhauto"),
    ("Metro Recharge Point", "metrorecharge"),
    ("Bharat Book Depot", "bharatbooks"),
    ("Nair Ayurveda, Thrissur", "nairayurveda"),
    ("City Electricity Board", "citypower"),
    ("Sundaram Jewellers", "sundaramgold"),
    ("Rao's Dental Clinic", "raodental"),
    ("Green Valley School, Fees", "greenvalley"),
    ("Lucky Mobile & Repairs", "luckymobile"),
    ("Himalaya Travels", "himalayatravels"),
    ("Quick Cabs", "quickcabs"),
    ("Fresh Basket Vegetables", "freshbasket"),
)

PERSON_HANDLES: Final = ("okhdfc", "oksbi", "okicici", "okaxis", "ybl", "ibl", "axl", "paytm", "apl", "upi")
MERCHANT_HANDLES: Final = ("hdfcbank", "icici", "sbi", "axisbank", "kotak", "yesbank", "ptys", "okbizaxis")
